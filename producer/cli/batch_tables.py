"""A batch, its bad lines and its report, as people and as programs read them."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from producer.cli.printing import counted, moment, money, print_table, say
from shared.domain.money import usd_from_nusd

if TYPE_CHECKING:
    from producer.client import Batch

REJECTED_SHOWN = 20
_COUNTS = ("queued", "running", "held", "completed", "failed", "cancelled", "expired")


def as_object(batch: "Batch") -> dict[str, Any]:
    """The API's batch object with its counts and cost on the outer level as well."""
    counts = {name: getattr(batch.counts, name) for name in ("total", *_COUNTS)}
    return {
        **batch.raw,
        "counts": counts,
        "cost_nusd": batch.cost_nusd,
        "cost_usd": usd_from_nusd(batch.cost_nusd),
    }


def show_batches(batches: "Sequence[Batch]") -> None:
    """One row a batch, newest first."""
    print_table(
        "",
        ("batch", "status", "created", ">jobs", ">done", ">failed", ">held", ">cost"),
        [
            (
                batch.id,
                batch.status,
                moment(batch.raw.get("created_at")),
                batch.counts.total,
                batch.counts.ended,
                batch.counts.failed,
                batch.counts.held,
                money(batch.cost_nusd),
            )
            for batch in batches
        ],
    )


def show_batch(batch: "Batch") -> None:
    """Where one batch stands, and what to do where it needs somebody."""
    counts = [f"{getattr(batch.counts, name)} {name}" for name in _COUNTS]
    say(f"{batch.id}  {batch.status}  {money(batch.cost_nusd)}")
    say(
        f"{counted(batch.counts.total, 'job')}: "
        + ", ".join(c for c in counts if not c.startswith("0 "))
    )
    if batch.is_filling:
        say(f"reading: {counted(batch.counts.total, 'line')} so far")
    for error in ((batch.raw.get("errors") or {}).get("data") or ())[:REJECTED_SHOWN]:
        say(f"error {error.get('code')}: {error.get('message')}")
    if batch.counts.held:
        say(what_holds(batch))


def what_holds(batch: "Batch") -> str:
    """What lets held jobs go on."""
    return (
        f"{counted(batch.counts.held, 'job')} held until there is money: "
        f"`promptmill resume {batch.id} --max-cost USD` raises the batch's cap, "
        "`promptmill budget set` the project's budget"
    )


def show_rejected(rejected: "Sequence[dict[str, Any]]", count: int, batch_id: str = "") -> None:
    """The first bad lines, and where the rest can be read."""
    print_table(
        counted(count, "bad line"),
        (">line", "field", "code", "what is wrong"),
        [
            (str(bad.get("line")), bad.get("field"), bad.get("code"), bad.get("message"))
            for bad in rejected[:REJECTED_SHOWN]
        ],
    )
    if count > REJECTED_SHOWN:
        where = (
            f"`promptmill results {batch_id}` has each as a failed line"
            if batch_id
            else "`--json` prints them all"
        )
        say(f"{count - REJECTED_SHOWN} more: {where}")


def show_report(report: dict[str, Any]) -> None:
    """What a batch cost, by model and by task type, and what climbing brought."""
    say(f"total {money(report['total_cost_nusd'])}")
    if report.get("unconfirmed_nusd"):
        say(f"of it {money(report['unconfirmed_nusd'])} for calls that were never answered")
    print_table(
        "by model",
        ("model", "provider", ">attempts", ">input", ">cached", ">output", ">cost"),
        [
            (
                row["model"],
                row.get("provider"),
                row["attempts"],
                row["input_tokens"],
                row["cached_tokens"],
                row["output_tokens"],
                money(row["cost_nusd"]),
            )
            for row in report["by_model"]
        ],
    )
    print_table(
        "by task type",
        ("task type", ">jobs", ">cost"),
        [
            (row["task_type"], row.get("jobs"), money(row["cost_nusd"]))
            for row in report["by_task_type"]
        ],
    )
    escalations = report["escalations"]
    say(
        f"escalations: {escalations['climbs']} climbs, {escalations['rescued']} answers rescued, "
        f"{money(escalations['cost_nusd'])}"
    )
    _show_checks(report)
    _show_repeated(report)
    _show_failures(report)
    _show_strongest(report)
    _show_predicted(report)
    _show_pilot(report)


def _show_checks(report: dict[str, Any]) -> None:
    """What checking by a second cheap answer cost and saved."""
    told = report.get("agreement")
    if told and told["checks"]:
        say(
            f"agreement: {told['checks']} checks, {told['agreed']} agreed, "
            f"{money(told['cost_nusd'])}; saved by starting lower: {money(told['saved_nusd'])}"
        )


def _show_pilot(report: dict[str, Any]) -> None:
    """What a pilot cost and chose."""
    pilot = report.get("pilot")
    if not pilot or not pilot["choices"]:
        return
    say(
        f"pilot: {pilot['lines']} lines, {money(pilot['extra_nusd'])} beyond their answers; "
        f"its choices save about {money(pilot['saved_nusd'])}"
    )
    print_table(
        "the pilot's choices",
        ("kind of prompt", "tier", ">lines", ">lost", ">at most"),
        [
            (one["cluster"], one["tier"], one["lines"], one["lost"], f"{one['bound']:.1%}")
            for one in pilot["choices"]
        ],
    )


def _show_predicted(report: dict[str, Any]) -> None:
    """What was expected before the first job ran, beside what came."""
    predicted = report.get("predicted")
    if not predicted:
        return
    cost, actual = predicted["cost_nusd"], predicted["actual"]
    say(
        f"predicted: likely {money(cost['p50'])}, hardly above {money(cost['p95'])}; "
        f"{'it cost' if actual['is_final'] else 'so far'} {money(actual['cost_nusd'])}"
        + (f" ({actual['of_p50']:.0%} of the likely)" if actual["of_p50"] is not None else "")
    )
    now = predicted.get("now")
    if now:
        likely = now["cost_nusd"]
        say(f"in the end likely {money(likely['p50'])}, hardly above {money(likely['p95'])}")


def _show_repeated(report: dict[str, Any]) -> None:
    """Answers that were not bought again, and what they had cost."""
    cache, alike = report.get("cache") or {}, report.get("deduplication") or {}
    if cache.get("hits"):
        hits, saved = counted(cache["hits"], "answer"), money(cache["saved_nusd"])
        say(f"from the cache: {hits}, {saved} saved")
    if alike.get("answered"):
        say(
            f"asked once for several lines: {counted(alike['answered'], 'answer')}, "
            f"{money(alike['saved_nusd'])} saved"
        )


def _show_failures(report: dict[str, Any]) -> None:
    """Attempts that brought no answer, and jobs that ended with an error."""
    print_table(
        "attempts without an answer",
        ("kept as", ">attempts", ">cost", "errors"),
        [
            (
                name,
                failed["attempts"],
                money(failed["cost_nusd"]),
                [f"{error['kind'] or 'other'} {error['attempts']}" for error in failed["by_error"]],
            )
            for name, failed in (report.get("attempts_without_answer") or {}).items()
            if failed["attempts"]
        ],
    )
    print_table(
        "jobs without an answer",
        ("error", ">jobs", ">cost"),
        [(row["code"], row["jobs"], money(row["cost_nusd"])) for row in report.get("errors") or ()],
    )


def _show_strongest(report: dict[str, Any]) -> None:
    strongest = report.get("always_strongest_nusd")
    if not strongest:
        return
    saved = strongest - report["total_cost_nusd"]
    say(
        f"always the strongest model would have cost {money(strongest)}: "
        f"{'saved' if saved >= 0 else 'lost'} {money(abs(saved))} ({abs(saved) / strongest:.0%})"
    )
