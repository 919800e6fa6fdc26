"""The task model: a multinomial logistic regression over signals, and its leave-one-out check.

Only signals seen in several sources or forms are kept: what one source alone says is its
template, not the task.
"""

from collections import Counter, defaultdict
from collections.abc import Hashable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy.sparse import csr_matrix, hstack
from sklearn.isotonic import IsotonicRegression
from sklearn.linear_model import LogisticRegression

from training.rows import CLASSES, Row
from training.word_vectors import meaning

Array = np.ndarray[Any, np.dtype[np.float64]]

STRENGTH = 0.008  # 1 / regularisation, the best of .004 to .3 by leaving sources out
FORMS = 6  # a word must occur in so many sources or forms,
TIMES = 4  # and so often
OF_A_SOURCE = 500  # rows of one source count as so many at most
OURS = 0.5  # how much one of our own prompts counts
DOUBT = 0.25  # how much a prompt without a class counts, spread over all
BELONGING = 0.05  # 1 / regularisation of what tells prompts with a class from those without
SHARES = {"complex_reasoning": 0.35}
"""Of the whole weight, where a class gets another than the others: few people ask for proofs."""


@dataclass(frozen=True, slots=True)
class Fit:
    """A fitted model: the column of each signal, points (signals x columns), the same of the
    figures of words' meanings (figures x columns), bias. A column for each class, and one for
    whether a prompt fits any of them.
    """

    columns: dict[Hashable, int]
    points: Array
    meanings: Array
    bias: Array

    def probabilities(self, rows: Sequence[Row]) -> Array:
        """For each prompt and class."""
        logits = self._logits(rows)[:, : len(CLASSES)]
        odds = np.exp(logits - logits.max(axis=1, keepdims=True))
        shares: Array = odds / odds.sum(axis=1, keepdims=True)
        return shares

    def belonging(self, rows: Sequence[Row]) -> Array:
        """For each prompt how likely it fits a class, where as many do as do not."""
        found: Array = 1.0 / (1.0 + np.exp(-self._logits(rows)[:, len(CLASSES)]))
        return found

    def _logits(self, rows: Sequence[Row]) -> Array:
        points = np.vstack([self.points, self.meanings])
        logits: Array = _matrix(rows, self.columns) @ points + self.bias
        return logits


def fit(rows: Sequence[Row], doubtful: Sequence[Row] = ()) -> Fit:
    """Fit on rows, each class weighing the same and no source too much."""
    columns = _columns(rows)
    labels = np.array([CLASSES.index(row.label) for row in rows])
    of_source = Counter(row.source for row in rows)
    weights = np.array(
        [
            OURS if row.source == "own" else min(1.0, OF_A_SOURCE / of_source[row.source])
            for row in rows
        ]
    )
    for index in range(len(CLASSES)):
        mine = labels == index
        share = SHARES.get(CLASSES[index], 1.0) / len(CLASSES)
        weights[mine] *= len(rows) * share / max(1e-9, weights[mine].sum())
    prompts = list(rows)
    for index in range(len(CLASSES)):
        prompts += doubtful
        labels = np.concatenate([labels, np.full(len(doubtful), index)])
        weights = np.concatenate([weights, np.full(len(doubtful), DOUBT / len(CLASSES))])
    model = LogisticRegression(C=STRENGTH, max_iter=400, tol=1e-3)
    model.fit(_matrix(prompts, columns), labels, sample_weight=weights)
    belonging = _belonging(rows, doubtful, columns)
    points, meanings = np.split(np.vstack([model.coef_, belonging.coef_]).T, [len(columns)])
    bias = np.concatenate([model.intercept_, belonging.intercept_])
    return Fit(columns, points, meanings, bias)


def _belonging(
    rows: Sequence[Row], doubtful: Sequence[Row], columns: dict[Hashable, int]
) -> LogisticRegression:
    """Tells rows with a class from those without, each kind weighing the same."""
    prompts = [*rows, *doubtful]
    kinds = np.array([1] * len(rows) + [0] * len(doubtful))
    of_source = Counter((row.source, row.label) for row in prompts)
    weights = np.array(
        [
            OURS
            if row.source == "own"
            else min(1.0, OF_A_SOURCE / of_source[row.source, row.label])
            for row in prompts
        ]
    )
    for kind in (0, 1):
        mine = kinds == kind
        weights[mine] *= len(prompts) / 2 / max(1e-9, weights[mine].sum())
    model = LogisticRegression(C=BELONGING, max_iter=400, tol=1e-3)
    return model.fit(_matrix(prompts, columns), kinds, sample_weight=weights)


def unseen(
    rows: Sequence[Row], extra: Sequence[Row], doubtful: Sequence[Row]
) -> tuple[Array, Array]:
    """Probabilities for every row, and how likely it fits a class, by a model that saw nothing of
    the row's source, and no row that may not ship; `extra` (our own) is always trained on.
    """
    found = np.zeros((len(rows), len(CLASSES)))
    fits = np.zeros(len(rows))
    shippable = [row for row in rows if row.mayship]
    left_out: list[str | None] = [None, *sorted({row.source for row in shippable})]
    for source in left_out:
        model = fit(
            [*(r for r in shippable if r.source != source), *extra],
            [r for r in doubtful if r.source != source],
        )
        asked = [i for i, r in enumerate(rows) if (r.source if r.mayship else None) == source]
        if asked:
            found[asked] = model.probabilities([rows[i] for i in asked])
            fits[asked] = model.belonging([rows[i] for i in asked])
    return found, fits


def curve(rows: Sequence[Row], shares: Array, knots: int = 14) -> list[tuple[float, float]]:
    """What a probability of the best class is worth: the share that was right, made to rise."""
    best = shares.max(axis=1)
    right = np.array([CLASSES[k] == r.label for k, r in zip(shares.argmax(1), rows, strict=True)])
    of_source = Counter(row.source for row in rows)
    weights = [min(1.0, OF_A_SOURCE / of_source[row.source]) for row in rows]
    rising = IsotonicRegression(y_min=0.2, y_max=0.99, out_of_bounds="clip")
    rising.fit(best, right, sample_weight=weights)
    places = np.unique(np.quantile(best, np.linspace(0, 1, knots)).round(4))
    smooth = [
        float(np.mean(rising.predict(np.linspace(max(0.2, p - 0.04), min(1, p + 0.04), 9))))
        for p in places
    ]
    return [
        (float(p), round(float(v), 4))
        for p, v in zip(places, np.maximum.accumulate(smooth), strict=True)
    ]


def _columns(rows: Iterable[Row]) -> dict[Hashable, int]:
    forms: dict[Hashable, set[str]] = defaultdict(set)
    times: Counter[Hashable] = Counter()
    for row in rows:
        times.update(row.signals)
        for signal in row.signals:
            forms[signal].add(row.form)
    kept = (
        signal
        for signal, places in forms.items()
        if times[signal] >= TIMES and (len(places) >= FORMS or _is_shape(signal))
    )
    return {signal: column for column, signal in enumerate(sorted(kept, key=repr))}


def _is_shape(signal: Hashable) -> bool:
    first = signal[0] if isinstance(signal, tuple) else str(signal)
    return len(first) > 1 and first[0] in "=!"


def _matrix(rows: Sequence[Row], columns: dict[Hashable, int]) -> Any:
    found: list[int] = []
    ends = [0]
    for row in rows:
        found += sorted(columns[signal] for signal in row.signals if signal in columns)
        ends.append(len(found))
    seen = csr_matrix(
        (np.ones(len(found)), np.array(found, dtype=np.int32), np.array(ends)),
        shape=(len(rows), len(columns)),
    )
    return hstack([seen, csr_matrix(meaning([row.words for row in rows]))]).tocsr()
