"""`tunegate openapi`: prints the API's description."""

from service.settings import Settings


def openapi() -> None:
    """Print the API's description, the content of openapi.yaml."""
    from service.app import create_litestar
    from service.http.openapi import document, to_yaml

    print(to_yaml(document(create_litestar(Settings()))), end="")
