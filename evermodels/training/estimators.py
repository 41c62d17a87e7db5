"""The simple baselines as scikit-learn pipelines: windows of EEG in, classes out."""

from __future__ import annotations

import importlib
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import torch

from evermodels.core.errors import ConfigError, ShapeError, UnknownNameError, did_you_mean
from evermodels.layers import DifferentialEntropy

BANDS: tuple[tuple[float, float], ...] = ((1.0, 4.0), (4.0, 8.0), (8.0, 13.0), (13.0, 30.0), (30.0, 45.0))
"""Delta, theta, alpha, beta and gamma, in Hz."""

ESTIMATORS: Mapping[str, str] = {
    "svm_de": "linear support vector machine on the differential entropy of bands",
    "band_power_lr": "logistic regression on the logarithm of band power",
    "tangent_space_lr": "logistic regression in the Riemannian tangent space of the channels' covariances in bands",
}
"""What :func:`make_estimator` makes, by name."""


class Windows(NamedTuple):
    """Windows of EEG as scikit-learn takes them.

    Args:
        X: ``(windows, channels, time)``, float64, in µV.
        y: Class of each, ``(windows,)``.
        groups: Whose each is, ``(windows,)``, for splits by person; ``None`` where the items do not say.
    """

    X: np.ndarray
    y: np.ndarray
    groups: np.ndarray | None


def eeg_windows(items: Iterable[Mapping[str, Any]]) -> Windows:
    """Collect the windows of a data set, which the networks train on too.

    Args:
        items: Its items: mappings with ``"eeg"``, ``(channels, time)``, ``"label"`` and perhaps ``"eeg_subject"``.

    Raises:
        ShapeError: If there is no item, or one is no window of EEG like the others.

    Example:
        >>> items = [{"eeg": torch.zeros(2, 100), "label": k, "eeg_subject": "a"} for k in (0, 1)]
        >>> windows = eeg_windows(items)
        >>> windows.X.shape, windows.y.tolist(), windows.groups.tolist()
        ((2, 2, 100), [0, 1], ['a', 'a'])
    """
    rows, labels, people = [], [], []
    for item in items:
        if "eeg" not in item or "label" not in item:
            raise ShapeError(f"items: expected mappings with 'eeg' and 'label', got {', '.join(item) or 'nothing'}.")
        rows.append(np.asarray(item["eeg"], dtype=np.float64))
        labels.append(int(item["label"]))
        people.append(item.get("eeg_subject"))
    if not rows:
        raise ShapeError("items: expected at least one, got none.")
    if any(row.ndim != 2 or row.shape != rows[0].shape for row in rows):
        raise ShapeError(f"items: expected windows of one shape, (channels, time), got {rows[0].shape} and others.")
    whose = None if any(person is None for person in people) else np.asarray(people)
    return Windows(np.stack(rows), np.asarray(labels), whose)


def _bands(X: Any, kind: Any, sfreq: float, bands: Sequence[tuple[float, float]], seconds: float) -> np.ndarray:
    """Features of each window, the mean over its stretches, ``(windows, bands · channels)``."""
    features = DifferentialEntropy(sfreq, bands, seconds, kind=kind).double()(_checked(X)).mean(dim=1)
    if kind == "power":
        features = features.clamp_min(1e-12).log()  # of a channel that is flat
    return features.flatten(1).numpy()


def _within(X: Any, low: float, high: float, sfreq: float) -> np.ndarray:
    """Keep one band of each window, ``(windows, channels, time)``, by its Fourier transform."""
    windows = _checked(X)
    time = windows.shape[2]
    frequency = torch.fft.rfftfreq(time, 1 / sfreq, dtype=windows.dtype)
    kept = (frequency >= low) & (frequency < high)
    return torch.fft.irfft(torch.fft.rfft(windows) * kept, n=time).numpy()


def _checked(X: Any) -> torch.Tensor:
    windows = torch.as_tensor(np.asarray(X, dtype=np.float64))
    if windows.ndim != 3 or 0 in windows.shape:
        raise ShapeError(f"X: expected windows of EEG, (windows, channels, time), got {tuple(windows.shape)}.")
    if not torch.isfinite(windows).all():
        raise ShapeError("X: values are NaN or infinite. Interpolate or drop these windows.")
    return windows


def make_estimator(
    name: str,
    sfreq: float,
    *,
    bands: Sequence[tuple[float, float]] = BANDS,
    seconds: float = 1.0,
    C: float = 1.0,
    seed: int = 0,
) -> Any:
    """Return a baseline as a scikit-learn pipeline: ``fit(X, y)``, ``predict(X)``, ``score(X, y)``, ``clone``.

    They are what the papers compare with (a linear SVM on differential entropy, in Mood Reader's Table 1) and what a
    network has to beat. Features are computed by this package's own layer
    (:class:`~evermodels.layers.DifferentialEntropy`) and standardised by the training windows; classes are weighed by
    how seldom they are. ``C`` belongs on validation people, as a network's settings do: make one for each, keep the
    best.

    Args:
        name: A key of :data:`ESTIMATORS`.
        sfreq: Sampling rate of the windows in Hz.
        bands: Lower and upper edge of each band in Hz; one, such as ``[(1, 45)]``, for covariances of the whole signal.
        seconds: Stretches that a window is cut into, over which its features are averaged; ``"tangent_space_lr"`` takes
            windows whole.
        C: Inverse strength of the regularisation.
        seed: For solvers that draw.

    Raises:
        UnknownNameError: If there is no such baseline.
        ConfigError: If a value is impossible, or scikit-learn, or for ``"tangent_space_lr"`` pyriemann, is missing.

    Example:
        >>> generator = np.random.default_rng(0)
        >>> X, y = generator.normal(size=(20, 3, 400)), np.arange(20) % 2
        >>> X[y == 1] *= 3
        >>> make_estimator("band_power_lr", 100.0).fit(X, y).score(X, y)
        1.0
    """
    if name not in ESTIMATORS:
        raise UnknownNameError(
            f"name: {name!r} does not exist.{did_you_mean(name, ESTIMATORS)} It is one of: {', '.join(ESTIMATORS)}."
        )
    for key, value in (("sfreq", sfreq), ("C", C)):
        if not value > 0:
            raise ConfigError(f"{key}: expected a positive number, got {value!r}.")
    pipeline, preprocessing = _needed("sklearn.pipeline"), _needed("sklearn.preprocessing")
    linear = _needed("sklearn.linear_model")
    regression = linear.LogisticRegression(C=C, max_iter=2000, class_weight="balanced", random_state=seed)
    scale = preprocessing.StandardScaler()
    DifferentialEntropy(sfreq, bands, seconds)  # refuses bands that it cannot compute, before anything is fitted
    if name == "tangent_space_lr":
        estimation, tangent = _needed("pyriemann.estimation"), _needed("pyriemann.tangentspace")

        def branch(low: float, high: float) -> Any:
            own = {"low": low, "high": high, "sfreq": float(sfreq)}
            band = preprocessing.FunctionTransformer(_within, kw_args=own)
            return pipeline.make_pipeline(band, estimation.Covariances("oas"), tangent.TangentSpace())

        return pipeline.make_pipeline(pipeline.make_union(*(branch(*band) for band in bands)), scale, regression)
    kind = "power" if name == "band_power_lr" else "differential_entropy"
    own = {"kind": kind, "sfreq": float(sfreq), "bands": tuple(map(tuple, bands)), "seconds": seconds}
    features = preprocessing.FunctionTransformer(_bands, kw_args=own)
    if name == "svm_de":
        svm = _needed("sklearn.svm").LinearSVC(C=C, class_weight="balanced", random_state=seed)
        return pipeline.make_pipeline(features, scale, svm)
    return pipeline.make_pipeline(features, scale, regression)


def _needed(module: str) -> Any:
    """Import a module of the extra, which nothing else asks for."""
    try:
        return importlib.import_module(module)
    except ImportError as error:
        package = module.partition(".")[0].replace("sklearn", "scikit-learn")
        raise ConfigError(
            f"{package} is not installed, which this baseline needs. Install evermodels[sklearn], or pip install "
            f"{package}."
        ) from error
