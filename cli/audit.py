"""`tunegate audit`: proves the balances from the ledger and reports where they drift."""

import msgspec
from rich.console import Console
from rich.table import Table
from rich.text import Text

from service.billing.audit import Proof, ledger_snapshot, prove
from service.billing.prices import dollar_text

EXIT_CONSISTENT, EXIT_INCONSISTENT = 0, 1


async def audit(database_url: str, *, as_json: bool) -> int:
    """Prove the balances and print the proof. Returns the exit status: 1 when anything drifts."""
    async with ledger_snapshot(database_url) as session:
        proof = await prove(session)
    if as_json:
        print(msgspec.json.encode({"holds": proof.consistent, **msgspec.to_builtins(proof)}).decode())
    else:
        render(proof, Console(highlight=False))
    return EXIT_CONSISTENT if proof.consistent else EXIT_INCONSISTENT


def render(proof: Proof, console: Console) -> None:
    """Print the proof for a terminal."""
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
        f"{dollar_text(proof.spent_micros, decimals=6)} spent, "
        f"{dollar_text(proof.overage_micros, decimals=6)} over limits, "
        f"{dollar_text(proof.reserved_micros, decimals=6)} reserved.",
        markup=False,
    )
    verdict = Text("✓ The books balance.", style="bold green")
    if not proof.consistent:
        verdict = Text("✗ The books do not balance.", style="bold red")
    console.print(verdict)
