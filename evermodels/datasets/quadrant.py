"""The quadrant pairs: EEG windows of some people beside face clips of others, four classes, an invented pairing."""

from __future__ import annotations

import copy
import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import Dataset

from evermodels.core.errors import ConfigError, DataError, require
from evermodels.core.factors import Factor
from evermodels.core.specs import VideoSpec
from evermodels.datasets.augment import EEGTransform
from evermodels.datasets.clips import EXPRESSIONS, VIEW, Expression, face_clip
from evermodels.datasets.companions import Companion, companion_split, merged
from evermodels.datasets.degrade import box_walk, recorded
from evermodels.datasets.eegmat import BASELINE, EEGMAT, STATES, Stretch
from evermodels.datasets.faces import LondonFaces
from evermodels.datasets.pairs import BASE, CLASSES, FACTORS, Pair, Partner, Rest
from evermodels.datasets.splits import PARTS, SubjectSplit, each_once
from evermodels.signals.eeg.whitening import SHORTEST

LABEL_RULES = {"quadrant": CLASSES, "congruence": ("congruent", "incongruent")}
"""Classes by label rule: arousal by valence, or whether one is high and the other low (arousal XOR valence)."""
_AGAIN = 0.3  # of box noise and codec: what the second reading of a clip adds to the first


def quadrant_split(face_ids: Iterable[str]) -> dict[str, SubjectSplit]:
    """Return the people of each part of the quadrant pairs, by fixed lists of ids.

    EEGMAT: 00-23 train, 24-29 validation, 30-35 test. Faces, by sorted id: the first 68 train, the next 17 validate,
    the last 17 test.

    Args:
        face_ids: Ids of all 102 people of the London set.

    Returns:
        The split of the people with EEG, ``eeg_subject``, and of those with faces, ``face_id``.

    Raises:
        DataError: If there are not 102 people, because every part would shift.

    Example:
        >>> split = quadrant_split(f"{i:03d}" for i in range(102))
        >>> split["eeg_subject"].test
        ('30', '31', '32', '33', '34', '35')
        >>> len(split["face_id"].train), split["face_id"].validation[0]
        (68, '068')
    """
    faces = sorted(each_once(face_ids))
    if len(faces) != 102:
        raise DataError(
            f"face_ids: expected the 102 people of the London set, got {len(faces)}; the parts are defined by the "
            f"position in the sorted list. Give a split of your own for another set of faces."
        )
    eeg = [f"{i:02d}" for i in range(36)]
    return {
        "eeg_subject": SubjectSplit(tuple(eeg[:24]), tuple(eeg[24:30]), tuple(eeg[30:])),
        "face_id": SubjectSplit(tuple(faces[:68]), tuple(faces[68:85]), tuple(faces[85:])),
    }


def deal(people: tuple[str, ...], count: int, rng: np.random.Generator) -> list[str]:
    """Return people such that everybody comes equally often, give or take one, in random order.

    Args:
        people: Their ids.
        count: How many are dealt.
        rng: Draws the order.
    """
    rounds = [rng.permutation(len(people)) for _ in range(-(-count // len(people)))]
    return [people[i] for i in np.concatenate(rounds)[:count]] if count else []


class QuadrantPairs(Dataset[dict[str, Any]]):
    r"""Four classes from two independent signals: rest or arithmetic (EEG), neutral or smiling (face clip).

    The class is :math:`2 a + v` with arousal :math:`a = 1` for an EEGMAT window of mental arithmetic and valence
    :math:`v = 1` for a smiling face. The signals are real, the pairing is invented: this exercises fusion, and says
    nothing on emotion. One signal alone reaches at most half of the classes' recall.

    Every part is exactly balanced. An evaluation part (``train=False``) is drawn once from ``pairing_seed``, so that it
    is the same for every model and seed: each arithmetic window of a person once with a neutral and once with a smiling
    face, and as many rest windows of the same person, sampled without replacement; the faces are dealt out evenly.

    In training (``train=True``) each epoch (:meth:`set_epoch`) draws new pairs: everybody equally often in every class,
    windows that begin anywhere in a recording. Four items in a row, one of each class, are matched: the EEG is of one
    person, and a neutral and the next smiling clip are of one face under the same motion, light and timing, so that
    what differs within the four is the state and the expression. Keep them in one batch (:attr:`group`): from shuffled
    items a small encoder stays at chance for long, since people differ far more than expressions do. With the
    probability ``blend`` two people of a class are blended with random weights: the photographs, and the EEG with
    weights whose squares sum to 1, since the EEG of two people is uncorrelated and its power is to stay.

    ``companions`` put further modalities beside them, of other people, each with draws of its own, so that EEG and
    faces stay the same items with and without: speech whose acted emotion has the valence (the four matched items have
    one speaker for each state, as they have one face), and eye movement of somebody who did arithmetic too or did
    nothing (one person for the four).

    With ``label_rule="congruence"`` the same items have two classes, arousal XOR valence, which no sum of what the
    signals tell apart from each other can express: only a fusion in which they interact is above chance. The classes
    are then no product of factors, and ``arousal`` and ``valence`` are no scores.

    Items depend on ``(seed, epoch, index)`` alone, whatever the number of workers; the length of a recording never
    enters.

    Args:
        eegmat: The EEG.
        faces: The photographs.
        part: ``"train"``, ``"validation"`` or ``"test"``.
        seed: Seed of the training draws; an evaluation part does not depend on it.
        pairing_seed: Seed of the fixed pairing.
        num_frames: Frames per clip.
        size: Height and width of the frames in pixels.
        train: Whether to draw anew every epoch; only for the part ``"train"``.
        length: Items of an epoch in training, a multiple of 4 (default: 4 for each arithmetic window of the part).
        split: The people of each part, by group (default: :func:`~evermodels.datasets.quadrant_split`).
        flip: Whether half of the training clips are mirrored.
        crossfade: How many of the clips begin with the other expression.
        eeg_transform: Called on each training window as ``eeg_transform(window, rng)``, ``(channels, time)`` float32.
        strength: Factor on motion and light of the training clips; evaluation clips have 1.
        blend: How many of the training items are blended from two people.
        weaken: Largest part of the power of a training window of arithmetic that a window of the same person's rest
            takes, drawn uniformly from 0: in some people the effect is as weak.
        baselines: Shortest and longest baseline in seconds that training draws, of random length and place, for EEG
            whitened by a baseline; the four matched items share one. ``None``: the data set's own for everybody.
        box_noise: How far the box of a training clip lies off, standard deviation as a part of its side.
        codec: How many of the training clips are changed as by another codec
            (:func:`~evermodels.datasets.degrade.recorded`).
        twice: Whether a training item also holds ``again``, by modality: the same clip read once more, with three
            tenths of ``box_noise`` and of a codec's changes on top.
        again_colours: How much of the range of a codec's changes of colour that second reading has.
        mean: Mean of each colour (RGB in 0..1) that is subtracted.
        std: Standard deviation of each colour that is divided by.
        companions: Further modalities.
        label_rule: ``"quadrant"`` or ``"congruence"``.
        modalities: Which of EEG and video an item holds. The other stays part of the pair, and is neither read nor
            made; what is made is the same bit for bit.

    Attributes:
        classes: Names of the classes.
        factors: What they are the product of.
        groups: The keys of an item that hold a person's id.
        scores: The data set's own scores, by the factor that each is of.

    Returns:
        Items are dicts: of ``modalities`` ``eeg`` ``(channels, time)`` float32 in µV and ``video``
        ``(frames, 3, height, width)`` float32, normalised; ``label``, ``arousal`` and ``valence`` 0 or 1;
        ``eeg_subject`` and ``face_id``; of companions ``audio`` with ``masks["audio"]`` ``(frames,)`` bool and
        ``speaker``, ``eye`` and ``eye_subject``.

    Raises:
        DataError: If people of the part are missing from the data.
        ConfigError: If an argument is impossible.

    Example:
        >>> from evermodels.datasets import EEGMAT, LondonFaces, QuadrantPairs
        >>> QuadrantPairs(EEGMAT("data/eegmat"), LondonFaces("data/faces"), "test")
        Traceback (most recent call last):
            ...
        evermodels.core.errors.DataError: EEGMAT: 'data/eegmat' is not a folder. ...
    """

    classes: tuple[str, ...] = CLASSES
    factors: tuple[Factor, ...] = FACTORS
    groups: tuple[str, ...] = ("eeg_subject", "face_id")
    scores: Mapping[str, str] = {"arousal": "state", "valence": "expression"}

    def __init__(
        self,
        eegmat: EEGMAT,
        faces: LondonFaces,
        part: str,
        *,
        seed: int = 0,
        pairing_seed: int = 0,
        num_frames: int = 16,
        size: tuple[int, int] = (64, 64),
        train: bool = False,
        length: int | None = None,
        split: Mapping[str, SubjectSplit] | None = None,
        flip: bool = True,
        crossfade: float = 0.5,
        eeg_transform: EEGTransform | None = None,
        strength: float = 1.0,
        blend: float = 0.0,
        weaken: float = 0.0,
        baselines: tuple[int, int] | None = None,
        box_noise: float = 0.0,
        codec: float = 0.0,
        twice: bool = False,
        again_colours: float = 0.3,
        mean: tuple[float, float, float] = VideoSpec.mean,
        std: tuple[float, float, float] = VideoSpec.std,
        companions: Sequence[Companion] = (),
        label_rule: Literal["quadrant", "congruence"] = "quadrant",
        modalities: Sequence[str] = BASE,
    ) -> None:
        if part not in PARTS:
            raise ConfigError(f"part: expected one of {', '.join(PARTS)}, got {part!r}.")
        if train and part != "train":
            raise ConfigError(f"train: only the part 'train' is drawn anew every epoch, got train=True for {part!r}.")
        if length is not None and (not train or length < 4 or length % 4):
            raise ConfigError(
                f"length: expected a positive multiple of 4 with train=True, got {length} with train={train}; "
                f"the four classes are exactly balanced."
            )
        if unknown := set(modalities) - {*BASE}:
            raise ConfigError(f"modalities: expected some of {', '.join(BASE)}, got {', '.join(sorted(unknown))}.")
        self.modalities = tuple(modalities)
        self._declare(companions, label_rule)
        split = split if split is not None else {**quadrant_split(faces.people), **companion_split(companions)}
        if set(split) != set(self.groups):
            raise ConfigError(f"split: expected one for each of {', '.join(self.groups)}, got {', '.join(split)}.")
        self.eegmat, self.faces, self.part, self.train = eegmat, faces, part, train
        self.seed, self.pairing_seed = int(seed), int(pairing_seed)
        self.num_frames, self.size = num_frames, (int(size[0]), int(size[1]))
        if strength < 0:
            raise ConfigError(f"strength: expected a factor of at least 0, got {strength}.")
        self.flip, self.crossfade, self.eeg_transform = flip and train, crossfade, eeg_transform
        if not 0 <= blend <= 1:
            raise ConfigError(f"blend: expected a probability, got {blend}.")
        if not 0 <= box_noise < 1 or not 0 <= codec <= 1:
            raise ConfigError(f"box_noise, codec: expected a part of 1 and a probability, got {box_noise} and {codec}.")
        if not 0 <= weaken < 1:
            raise ConfigError(f"weaken: expected a part of the power in [0, 1), got {weaken}.")
        self.strength, self.blend, self.weaken = (strength, blend, weaken) if train else (1.0, 0.0, 0.0)
        if baselines is not None and not eegmat.baseline:
            raise ConfigError('baselines: expected None, as the EEG is not whitened by a baseline (baseline="rest").')
        if baselines is not None and not SHORTEST <= baselines[0] <= baselines[1]:
            raise ConfigError(f"baselines: expected at least {SHORTEST:g} s, shortest first, got {baselines}.")
        self.baselines = baselines if train else None
        self.box_noise, self.codec = (box_noise, codec) if train else (0.0, 0.0)
        self.twice, self.again_colours = twice and train, again_colours
        if self.twice and not (self.box_noise or self.codec):
            raise ConfigError(
                "twice: expected box_noise or codec above 0, since both readings of a clip are equal else."
            )
        self.subjects = _present(split["eeg_subject"].part(part), eegmat.subjects, f"EEG of the part {part!r}")
        self.face_ids = _present(split["face_id"].part(part), faces.people, f"faces of the part {part!r}")
        self._beside = [split[companion.group].part(part) for companion in companions]
        offset = np.asarray(mean, np.float32) / np.asarray(std, np.float32)
        factor = (1.0 / (255.0 * np.asarray(std, np.float32))).astype(np.float32)
        # Each grey level of each colour, normalised: looking it up is many times faster than working it out.
        self._levels = np.ascontiguousarray((np.arange(256, dtype=np.uint8)[:, None] * factor - offset).T)
        # In shared memory, so that workers that outlive an epoch see it too.
        self._epoch = torch.zeros((), dtype=torch.int64).share_memory_()
        self._drawn: tuple[int, list[Pair]] | None = None
        self._fixed: list[Pair] = [] if train else self._fixed_pairs()
        self._length = (length or self._default_length()) if train else len(self._fixed)

    def _declare(self, companions: Sequence[Companion], label_rule: str) -> None:
        if label_rule not in LABEL_RULES:
            raise ConfigError(f"label_rule: expected one of {', '.join(LABEL_RULES)}, got {label_rule!r}.")
        if len({companion.modality for companion in companions}) < len(companions):
            raise ConfigError("companions: expected each modality once.")
        self.companions, self.label_rule = tuple(companions), label_rule
        self.classes = LABEL_RULES[label_rule]
        self.groups = (*self.groups, *(companion.group for companion in companions))
        if label_rule == "quadrant":
            told = {f.name: tuple(c.modality for c in companions if c.factor == f.name) for f in FACTORS}
            self.factors = tuple(replace(f, modalities=(*f.modalities, *told[f.name])) for f in FACTORS)
        else:
            self.factors, self.scores = (), {}

    def _label(self, pair: Pair) -> int:
        return pair.label if self.label_rule == "quadrant" else pair.arousal ^ pair.valence

    def __len__(self) -> int:
        return self._length

    def __repr__(self) -> str:
        return (
            f"QuadrantPairs({self.part!r}, {len(self)} items, {len(self.subjects)} EEG subjects, "
            f"{len(self.face_ids)} face people, {'new pairs every epoch' if self.train else 'fixed pairs'})"
        )

    @property
    def class_counts(self) -> tuple[int, ...]:
        """Items of each class, in the order of :attr:`classes`."""
        labels = [self._label(pair) for pair in self.pairs]
        return tuple(np.bincount(labels, minlength=len(self.classes)).tolist())

    @property
    def people(self) -> dict[str, tuple[str, ...]]:
        """Ids of the people of this part, by group."""
        return dict(zip(self.groups, (self.subjects, self.face_ids, *self._beside), strict=True))

    @property
    def group(self) -> int:
        """How many items in a row belong into one batch: the four matched ones in training, else 1."""
        return len(CLASSES) if self.train else 1

    @property
    def epoch(self) -> int:
        """The epoch whose pairs are given out."""
        return int(self._epoch)

    def set_epoch(self, epoch: int) -> None:
        """Draw the pairs of another epoch; does nothing to a fixed part.

        Args:
            epoch: Number of the epoch, from 0.
        """
        if epoch < 0:
            raise ConfigError(f"epoch: expected a number of at least 0, got {epoch}.")
        self._epoch.fill_(int(epoch))

    @property
    def pairs(self) -> list[Pair]:
        """The items' pairs, of the present epoch in training."""
        if not self.train:
            return self._fixed
        epoch = self.epoch
        if self._drawn is None or self._drawn[0] != epoch:
            self._drawn = (epoch, self._with_others(self._random_pairs(epoch), (self.seed, epoch)))
        return self._drawn[1]

    @property
    def digest(self) -> str:
        """SHA-256 of the pairs: two results with one digest were measured on the same items, at whatever rate."""
        sfreq = self.eegmat.sfreq
        named = [
            (p.label, p.eeg_subject, round(p.start / sfreq, 3), p.face_id, p.key)
            + (() if p.partner is None else p.partner)
            + p.others
            for p in self.pairs
        ]
        return hashlib.sha256(json.dumps(named).encode()).hexdigest()

    def _default_length(self) -> int:
        return 4 * sum(len(self.eegmat.window_starts(person, "arithmetic")) for person in self.subjects)

    def _fixed_pairs(self) -> list[Pair]:
        # The part's name is in the seed, so that no two parts share their draws.
        base = (self.pairing_seed, PARTS.index(self.part))
        rng = np.random.default_rng(base)
        stretches: list[tuple[int, str, int]] = []
        for person in self.subjects:
            starts = [self.eegmat.window_starts(person, state) for state in STATES]
            count = min(map(len, starts))
            for arousal, choices in enumerate(starts):
                chosen = np.sort(rng.permutation(len(choices))[:count])
                stretches.extend((arousal, person, int(choices[i])) for i in chosen)
        pairs: list[Pair] = []
        for valence in range(len(EXPRESSIONS)):
            order = rng.permutation(len(stretches))
            people = deal(self.face_ids, len(stretches), rng)
            faces = {int(i): person for i, person in zip(order, people, strict=True)}
            for i, (arousal, person, start) in enumerate(stretches):
                pairs.append(Pair(2 * arousal + valence, person, start, faces[i], (*base, len(pairs))))
        return self._with_others(pairs, base)

    def _with_others(self, pairs: list[Pair], base: tuple[int, int]) -> list[Pair]:
        """Put the companions beside the pairs; with the draws of each its own, no other draw changes."""
        for companion, there in zip(self.companions, self._beside, strict=True):
            rng = np.random.default_rng(np.random.SeedSequence(base, spawn_key=(100 + companion.place,)))
            levels = [pair.level(companion.factor) for pair in pairs]
            people = self._dealt(companion, there, pairs, rng)
            others = [companion.choose(who, level, rng) for who, level in zip(people, levels, strict=True)]
            pairs = [pair._replace(others=(*pair.others, one)) for pair, one in zip(pairs, others, strict=True)]
        return pairs

    def _dealt(
        self, companion: Companion, there: tuple[str, ...], pairs: list[Pair], rng: np.random.Generator
    ) -> list[str]:
        """Deal people out evenly within each class; the matched items of training share them as they share a face."""
        if not self.train:
            dealt = [iter(deal(there, sum(p.label == k for p in pairs), rng)) for k in range(len(CLASSES))]
            return [next(dealt[pair.label]) for pair in pairs]
        each = [deal(there, len(pairs) // len(CLASSES), rng) for _ in STATES]
        by_state = companion.factor == "expression"
        return [each[pair.arousal if by_state else 0][i // len(CLASSES)] for i, pair in enumerate(pairs)]

    def _random_pairs(self, epoch: int) -> list[Pair]:
        rng = np.random.default_rng((self.seed, epoch))
        count = self._length // 4
        subjects, other_subjects = (deal(self.subjects, count, rng) for _ in range(2))
        people, other_people = ([deal(self.face_ids, count, rng) for _ in STATES] for _ in range(2))
        weights = np.where(rng.random((2, count)) < self.blend, rng.random((2, count)), 0.0)
        places = rng.random((2, len(CLASSES), count))
        more = rng.spawn(1)[0]
        draws, mixing = more.random((2, 2, count)), more.random((2, 2, len(CLASSES), count))

        def stretch(subject: str, length: float, place: float) -> Stretch | None:
            if self.baselines is None:
                return None
            shortest, longest = np.log(self.baselines)
            whole = self.eegmat.rest_seconds(subject)
            seconds = min(round(float(np.exp(shortest + length * (longest - shortest)))), whole // 2)
            return Stretch(int(place * (whole - seconds + 1)), seconds)

        def start(subject: str, arousal: int, place: float, baseline: Stretch | None) -> int:
            room = self.eegmat.num_samples(subject, STATES[arousal]) - self.eegmat.window_samples
            if baseline is None or STATES[arousal] != BASELINE:
                return int(place * (room + 1))
            # No window is compared with a baseline that holds it, as none will be in use.
            first, last = (round(s * self.eegmat.sfreq) for s in (baseline.start, baseline.start + baseline.seconds))
            before = max(first - self.eegmat.window_samples + 1, 0)
            chosen = int(place * (before + max(room + 1 - last, 0)))
            return chosen if chosen < before else last + chosen - before

        def rest(subject: str, arousal: int, draw: np.ndarray, baseline: Stretch | None) -> Rest | None:
            if not (self.weaken and arousal):
                return None
            return Rest(start(subject, 0, draw[0], baseline), float(self.weaken * draw[1]))

        pairs = []
        for i, (subject, other) in enumerate(zip(subjects, other_subjects, strict=True)):
            own, others = (stretch(who, *draws[k, :, i]) for k, who in enumerate((subject, other)))
            for label in range(len(CLASSES)):
                a = label // 2
                partner = None
                if weights[a, i]:
                    place = start(other, a, places[1, label, i], others)
                    weak = rest(other, a, mixing[1, :, label, i], others)
                    partner = Partner(other, place, other_people[a][i], float(weights[a, i]), others, weak)
                # The key is without the expression, which must not show in motion, light and timing.
                key = (self.seed, epoch, 2 * i + a)
                place = start(subject, a, places[0, label, i], own)
                weak = rest(subject, a, mixing[0, :, label, i], own)
                pairs.append(Pair(label, subject, place, people[a][i], key, partner, own, weak))
        return pairs

    def __getitem__(self, index: int) -> dict[str, Any]:
        """Return one item; the same arguments and epoch give the same item, bit for bit."""
        if not -len(self) <= index < len(self):
            raise IndexError(f"index {index} of {len(self)} items")
        pair = self.pairs[index]
        rng = np.random.default_rng(pair.key)
        signals: dict[str, Any] = {}
        # Neither draws from the other's numbers, so that what is left out changes nothing.
        if "eeg" in self.modalities:
            signals["eeg"] = torch.from_numpy(self._window(pair, rng))
        if "video" in self.modalities:
            if self.twice:
                signals["again"] = {"video": self._normalised(self._clip(pair, copy.deepcopy(rng), again=True))}
            signals["video"] = self._normalised(self._clip(pair, rng))
        item = {
            **signals,
            "label": self._label(pair),
            "arousal": pair.arousal,
            "valence": pair.valence,
            "eeg_subject": pair.eeg_subject,
            "face_id": pair.face_id,
        }
        beside = zip(self.companions, pair.others, strict=True)
        # Generators of their own, without the class in their seed.
        drawn = (np.random.default_rng((*pair.key, 3)) if self.train else None for _ in self.companions)
        read = (
            {c.group: o.person, **c.read(o, pair.level(c.factor), rng)}
            for (c, o), rng in zip(beside, drawn, strict=True)
        )
        return merged([item, *read])

    def _window(self, pair: Pair, rng: np.random.Generator) -> NDArray[np.float32]:
        window = self._excerpt(pair, pair.arousal)
        if pair.partner is not None:
            window = _mixed(window, self._excerpt(pair.partner, pair.arousal), pair.partner.weight)
        if self.train and self.eeg_transform is not None:
            # A generator of its own: a transform that draws more must not change the clip.
            window = self.eeg_transform(window, rng.spawn(1)[0])
            window = np.ascontiguousarray(window, dtype=np.float32)
        return window

    def _excerpt(self, of: Pair | Partner, arousal: int) -> NDArray[np.float32]:
        window = self.eegmat.window(of.eeg_subject, STATES[arousal], of.start, baseline=of.baseline)
        if of.rest is None:
            return window.copy()
        rest = self.eegmat.window(of.eeg_subject, STATES[0], of.rest.start, baseline=of.baseline)
        return _mixed(window, rest, of.rest.weight)

    def frames(self, index: int) -> NDArray[np.uint8]:
        """Return one item's clip before normalisation, ``(frames, height, width, 3)`` uint8, RGB.

        Args:
            index: Number of the item.
        """
        pair = self.pairs[index]
        return self._clip(pair, np.random.default_rng(pair.key))

    def _clip(self, pair: Pair, rng: np.random.Generator, again: bool = False) -> NDArray[np.uint8]:
        side = (round(self.size[0] / VIEW), round(self.size[1] / VIEW))
        neutral, smiling = (self._photo(pair, expression, side) for expression in EXPRESSIONS)
        # A generator of their own: what the reading does to a clip must not change its motion, light and timing.
        reading = np.random.default_rng((*pair.key, 1)) if self.box_noise or self.codec else None
        box = box_walk(self.num_frames, reading, self.box_noise) if reading else None
        other = np.random.default_rng((*pair.key, 2)) if again else None
        if box is not None and other is not None:
            box = box + box_walk(self.num_frames, other, _AGAIN * self.box_noise)
        clip = face_clip(
            neutral,
            smiling,
            EXPRESSIONS[pair.valence],
            self.num_frames,
            self.size,
            rng,
            crossfade=self.crossfade,
            flip=self.flip,
            motion=self.strength,
            light=self.strength,
            box=box,
        )
        if reading:
            clip = recorded(clip, reading, self.codec)
        return recorded(clip, other, strength=_AGAIN, colours=self.again_colours) if other else clip

    def _photo(self, pair: Pair, expression: Expression, side: tuple[int, int]) -> NDArray[np.uint8]:
        photo = self.faces.photo(pair.face_id, expression, size=side)
        if pair.partner is None:
            return photo
        cv2 = require("cv2", extra="video", purpose="blend faces")
        other, weight = self.faces.photo(pair.partner.face_id, expression, size=side), pair.partner.weight
        return cv2.addWeighted(photo, 1 - weight, other, weight, 0.0)

    def _normalised(self, frames: NDArray[np.uint8]) -> Tensor:
        cv2 = require("cv2", extra="video", purpose="normalise clips")
        count, height, width, _ = frames.shape
        clip = np.empty((count, 3, height, width), np.float32)
        for colour, plane in enumerate(cv2.split(frames.reshape(count * height, width, 3))):
            clip[:, colour] = cv2.LUT(plane, self._levels[colour]).reshape(count, height, width)
        return torch.from_numpy(clip)


def _mixed(window: NDArray[np.float32], other: NDArray[np.float32], weight: float) -> NDArray[np.float32]:
    """Mix two uncorrelated windows so that their power is the weighted mean."""
    own, others = np.sqrt([1 - weight, weight]).astype(np.float32)
    return own * window + others * other


def _present(wanted: tuple[str, ...], there: tuple[str, ...], what: str) -> tuple[str, ...]:
    missing = [person for person in wanted if person not in there]
    if missing:
        raise DataError(
            f"QuadrantPairs: {what} is missing for {', '.join(missing)}. Complete the folder, or give a split of the "
            f"people that are there."
        )
    return wanted
