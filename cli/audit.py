"""`tunegate audit`: proves the balances from the ledger and says where they drift."""

import msgspec
from rich.console import Console
from rich.table import Table
from rich.text import Text

from service.billing.audit import Proof, opened_books, prove

EXIT_HOLDS, EXIT_DRIFTS = 0, 1


async def audit(database_url: str, *, as_json: bool) -> int:
    """Prove and print. The exit status: 1 when anything drifts."""
    async with opened_books(database_url) as session:
        proof = await prove(session)
    if as_json:
        print(msgspec.json.encode({"holds": proof.holds, **msgspec.to_builtins(proof)}).decode())
    else:
        render(proof, Console(highlight=False))
    return EXIT_HOLDS if proof.holds else EXIT_DRIFTS


def render(proof: Proof, console: Console) -> None:
    """The proof for a person at a terminal."""
    table = Table(box=None, padding=(0, 2, 0, 0), header_style="dim")
    table.add_column("What must hold")
    table.add_column("Drifts", justify="right")
    for finding in proof.findings:
        table.add_row(finding.claim, Text(f"{finding.drifts:,}", style="bold red" if finding.drifts else "green"))
    console.print(table)
    for finding in proof.findings:
        for place in finding.places:
            console.print(Text(f"  ✗ {finding.check}: {place}", style="red"))
    console.print(
        f"\n{proof.entries:,} entries, {proof.balances:,} balances of {proof.projects:,} projects: "
        f"${proof.spent_micros / 1e6:,.6f} spent, ${proof.overage_micros / 1e6:,.6f} over limits, "
        f"${proof.reserved_micros / 1e6:,.6f} reserved.",
        markup=False,
    )
    verdict = Text("✓ The books balance.", style="bold green")
    if not proof.holds:
        verdict = Text("✗ The books do not balance.", style="bold red")
    console.print(verdict)
