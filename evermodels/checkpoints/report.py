"""What was loaded, what was not, and why: attached to each model and shown by each error."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from evermodels.core.errors import CheckpointError, shorten
from evermodels.core.text import one_line, visible

_MOST_PARTS = 40  # of a name that is merged with others; no model nests deeper
_LONGEST_NUMBER = 9  # digits


def _ranges(numbers: Iterable[int]) -> str:
    ordered = sorted(set(numbers))
    pieces: list[str] = []
    start = previous = ordered[0]
    for number in [*ordered[1:], None]:
        if number is not None and number == previous + 1:
            previous = number
            continue
        pieces.append(str(start) if start == previous else f"{start}…{previous}")
        if number is not None:
            start = previous = number
    return pieces[0] if len(ordered) == 1 else "{" + ", ".join(pieces) + "}"


def merge_names(names: Iterable[str]) -> list[str]:
    """Merge names that differ in one number only, as the layers of a stack do.

    Args:
        names: Parameter names with parts separated by dots.

    Returns:
        The merged names, in the order of their first member.

    Example:
        >>> merge_names(["layers.0.weight", "layers.1.weight", "layers.2.weight", "norm.bias"])
        ['layers.{0…2}.weight', 'norm.bias']
    """
    rows: list[tuple[str, ...]] = [
        tuple(name.split(".")) if name.count(".") < _MOST_PARTS else (name,) for name in dict.fromkeys(names)
    ]
    for position in range(max((len(row) for row in rows), default=0)):
        groups: dict[tuple[tuple[str, ...], tuple[str, ...] | None], list[str]] = {}
        for row in rows:
            if position < len(row) and row[position].isdecimal() and len(row[position]) <= _LONGEST_NUMBER:
                key: tuple[tuple[str, ...], tuple[str, ...] | None] = (row[:position], row[position + 1 :])
                groups.setdefault(key, []).append(row[position])
            else:
                groups.setdefault((row, None), []).append("")
        rows = [
            head if tail is None else (*head, _ranges(int(n) for n in numbers), *tail)
            for (head, tail), numbers in groups.items()
        ]
    return [".".join(row) for row in rows]


def short_name(name: str) -> str:
    """Return a tensor's name for a message: one line, and its middle left out where it is too long.

    Args:
        name: The name, as a file gives it.

    Example:
        >>> short_name("layers.0.weight")
        'layers.0.weight'
    """
    return one_line(shorten(name, 100))


def count(kinds: Mapping[str, Mapping[str, str]], main: str) -> str:
    """Return how many names there are of each kind, for the first line of a report.

    Args:
        kinds: Names by kind, each with its reason.
        main: The kind that holds what went well.

    Example:
        >>> count({"loaded": {"a": "", "b": ""}, "dropped": {}, "missing": {"c": "not there"}}, "loaded")
        '2 tensors loaded, 1 missing'
    """
    words = {main: f"tensors {main}"}
    return ", ".join(f"{len(names)} {words.get(kind, kind)}" for kind, names in kinds.items() if names) or (
        f"nothing {main}"
    )


def table_lines(kinds: Mapping[str, Mapping[str, str]]) -> list[str]:
    """Return the lines of a report: one a kind and reason, the names of stacked layers merged.

    Args:
        kinds: Names by kind, each with its reason (which may be empty).

    Example:
        >>> table_lines({"loaded": {"layers.0.weight": "", "layers.1.weight": ""}, "dropped": {"head.bias": "unused"}})
        ['  loaded   2  layers.{0…1}.weight', '  dropped  1  head.bias  (unused)']
    """
    rows = []
    for kind, names in kinds.items():
        by_reason: dict[str, list[str]] = {}
        for name, why in names.items():
            by_reason.setdefault(why, []).append(name)
        rows += [
            (kind, len(group), ", ".join(map(short_name, merge_names(group))), one_line(shorten(why)))
            for why, group in by_reason.items()
        ]
    width = max((len(kind) for kind, *_ in rows), default=0)
    digits = max((len(str(n)) for _, n, *_ in rows), default=0)
    return [
        f"  {kind:<{width}}  {n:>{digits}}  {_shorten(names)}  ({why})"
        if why
        else f"  {kind:<{width}}  {n:>{digits}}  {_shorten(names, 120)}"
        for kind, n, names, why in rows
    ]


@dataclass(frozen=True, repr=False)
class LoadReport:
    """What became of each tensor of a checkpoint and of the model; prints as a table, and is shown as its first line.

    Args:
        source: Name or folder that was loaded.
        loaded: Names of the tensors that hold the checkpoint's values.
        reinitialised: Names of tensors with fresh random values, and why.
        dropped: Names of the checkpoint's tensors that the model no longer has, and why.
        faults: Names of tensors that do not fit, by kind of fault (``missing``, ``unexpected``, ``shape``, ``dtype``,
            ``not finite``), and why. A model is never returned with one.
        verified: Against which digest the weights were checked, or ``None`` where none was declared.
        interpolated: EEG channels of the model that the recording lacks, and from which ones they are computed.
        reordered: EEG channels of the model that stand at another place in the recording, taken by name.

    Example:
        >>> print(LoadReport("demo", ("layers.0.weight", "layers.1.weight"), {"head.weight": "num_classes 4 -> 2"}))
        demo: 2 tensors loaded, 1 re-initialised (sha256 not declared)
          loaded          2  layers.{0…1}.weight
          re-initialised  1  head.weight  (num_classes 4 -> 2)
    """

    source: str
    loaded: tuple[str, ...] = ()
    reinitialised: Mapping[str, str] = field(default_factory=dict)
    dropped: Mapping[str, str] = field(default_factory=dict)
    faults: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    verified: str | None = None
    interpolated: Mapping[str, str] = field(default_factory=dict)
    reordered: tuple[str, ...] = ()

    def __repr__(self) -> str:
        first = str(self).partition("\n")[0]
        return f"<{type(self).__name__} of {first}; print() shows the table>"

    def __str__(self) -> str:
        kinds = {
            "loaded": dict.fromkeys(self.loaded, ""),
            "re-initialised": self.reinitialised,
            "dropped": self.dropped,
            **self.faults,
            "channels interpolated": self.interpolated,
            "channels reordered": dict.fromkeys(self.reordered, "by name"),
        }
        digest = f"sha256 checked against {self.verified}" if self.verified else "sha256 not declared"
        return visible(
            "\n".join([one_line(f"{self.source}: {count(kinds, 'loaded')} ({digest})"), *table_lines(kinds)])
        )

    def with_montage(self, adapter: Any) -> LoadReport:
        """Return a copy that says which EEG channels of the model the recording has elsewhere, or lacks.

        Args:
            adapter: The :class:`~evermodels.layers.MontageAdapter` before the model.
        """
        src, dst = list(adapter.src_ch_names), list(adapter.dst_ch_names)
        moved = tuple(name for name in dst if name in src and src.index(name) != dst.index(name))
        return replace(self, interpolated=dict(adapter.interpolated), reordered=moved)

    def raise_faults(self) -> None:
        """Raise a :class:`CheckpointError` that shows the table, if anything does not fit.

        Raises:
            CheckpointError: If there is at least one fault.
        """
        if any(self.faults.values()):
            raise CheckpointError(
                f"The checkpoint does not fit the model, and nothing was loaded.\n{self}\n{self._hint()}"
            )

    def _hint(self) -> str:
        missing, unexpected = list(self.faults.get("missing", ())), list(self.faults.get("unexpected", ()))
        for more, fewer, text in (
            (unexpected, missing, "The file's names begin with {!r}, which the model's do not: save the inner module."),
            (missing, unexpected, "The model's names begin with {!r}, which the file's do not: load the inner module."),
        ):
            if more and fewer and more[0].endswith(first := _longest_tail(more[0], fewer)):
                prefix = more[0][: len(more[0]) - len(first)]
                if prefix and all(name.startswith(prefix) for name in more):
                    return text.format(prefix)
        if "not finite" in self.faults:
            return "The training that wrote it diverged, or the file is damaged: use an earlier checkpoint."
        return "Use the config.json that was written together with these weights, or save the model again."


def _longest_tail(name: str, candidates: list[str]) -> str:
    tails = [c for c in candidates if name != c and name.endswith("." + c)]
    return max(tails, key=len, default="\0")


def _shorten(text: str, limit: int = 400) -> str:
    return text if len(text) <= limit else text[: limit - 1] + "…"
