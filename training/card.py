"""The figures of the model card: written between two marks, so that they cannot grow stale."""

import hashlib
from typing import Any

BEGIN = "<!-- figures: written by python -m training -->"
END = "<!-- end of figures -->"


def renewed(text: str, weights: bytes, figures: dict[str, Any]) -> str:
    """The card with these figures in the place of its own."""
    head, _, rest = text.partition(BEGIN)
    _, _, tail = rest.partition(END)
    digest = hashlib.sha256(weights).hexdigest()
    size = f"`model.json`: {len(weights):,} bytes, SHA-256 `{digest}`"
    return f"{head}{BEGIN}\n\n{size}.\n\n{figures_in_words(figures)}\n{END}{tail}"


def figures_in_words(figures: dict[str, Any]) -> str:
    """All tables, as Markdown."""
    rows, doubt = figures["rows"], figures["ambiguous"]
    return "\n".join(
        [
            (
                f"Trained on {rows['recorded']:,} recorded and {rows['own']:,} own prompts; "
                f"{rows['signals']:,} signals."
            ),
            "",
            *_tasks(figures["tasks"]),
            "",
            (
                "Prompts of one source that fit a class have a median confidence of "
                f"{doubt['clear']}, those that fit none {doubt['unclear']}; AUC {doubt['auc']}."
            ),
            "",
            *_difficulty(figures["difficulty"]),
            "",
        ]
    )


def _tasks(figures: dict[str, Any]) -> list[str]:
    lines = [
        "| task type, source left out | rows | accuracy | macro-F1 | best 80 % | calibration |",
        "| --- | --- | --- | --- | --- | --- |",
    ]
    lines += [
        f"| {name} | {f['rows']:,} | {f['accuracy']:.3f} | {f['macro_f1']:.3f} "
        f"| {f['at_80']:.3f} | {f['calibration_error']:.3f} |"
        for name, f in figures.items()
    ]
    return lines


def _difficulty(figures: dict[str, Any]) -> list[str]:
    lines = [
        "| difficulty, set left out | rows | Spearman | of length alone |",
        "| --- | --- | --- | --- |",
    ]
    lines += [
        f"| {name} | {f['rows']:,} | {f['spearman']:.3f} | {f['spearman_of_length']:.3f} |"
        for name, f in figures.items()
    ]
    lines += ["", "| routing by difficulty, set left out | APGR | by length |"]
    lines.append("| --- | --- | --- |")
    for name, found in figures.items():
        lines += [
            f"| {name}: {pair} | {apgr['model']:.3f} | {apgr['length']:.3f} |"
            for pair, apgr in found["apgr"].items()
        ]
    return lines
