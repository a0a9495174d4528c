"""The tables: one typed, versioned, documented schema each for rows and trials."""

from __future__ import annotations

from dataclasses import dataclass

import polars as pl

SCHEMA_VERSION = 2

STATUSES = ("ok", "diverged", "collapsed", "failed")
TRIAL_STATES = ("complete", "pruned", "diverged", "failed")


@dataclass(frozen=True)
class Column:
    """One column of a table: its name, Polars type and meaning (unit included)."""

    name: str
    dtype: pl.DataType
    meaning: str


def _columns(*columns: tuple[str, pl.DataType | type[pl.DataType], str]) -> tuple[Column, ...]:
    return tuple(
        Column(name, dtype() if isinstance(dtype, type) else dtype, meaning) for name, dtype, meaning in columns
    )


ROW_COLUMNS = _columns(
    # identity
    ("schema_version", pl.Int64, "version of this schema"),
    ("row_key", pl.String, "content key of the row: two rows with one key are the same measurement"),
    ("unit_key", pl.String, "content key of pretraining and protocol settings together: what one task evaluates"),
    ("pretrain_key", pl.String, "content key of the pretraining"),
    ("dataset", pl.String, "name of the data set"),
    ("dataset_fingerprint", pl.String, "content digest of the images and labels"),
    ("split_digest", pl.String, "content digest of the split into train pool, validation and test"),
    ("method", pl.String, "what was learned before labels"),
    ("encoder", pl.String, "name of the encoder network"),
    ("seed", pl.Int64, "number of the reported seed; null for entrants that have none"),
    ("axes", pl.String, 'JSON object: the scientific axes of the method and their values, e.g. {"mask_ratio":0.5}'),
    ("options", pl.String, "JSON object: every resolved option of the method, chosen nuisances included"),
    ("mask_ratio", pl.Float64, "promoted axis: share of patches hidden; null where the method has none"),
    ("noise_level", pl.Float64, "promoted axis: sigma of the corruption, in units of the [0,1] pixel range"),
    # evaluation
    ("protocol", pl.String, "how the encoder is judged"),
    ("protocol_options", pl.String, "JSON object: every resolved option of the protocol"),
    (
        "label_budget",
        pl.String,
        "labels per class the protocol may see (labelled images where it learns from masks), or 'all'",
    ),
    ("n_labels", pl.Int64, "total number of labelled images the budget holds"),
    ("draw", pl.Int64, "which examples the budget bought; draws nest over budgets"),
    ("layer", pl.String, "name of the encoder's layer that was read"),
    ("fuse", pl.String, "how the layer is fused with the partner, or the name of a control; null outside fusion"),
    ("partner", pl.String, "name of the partner encoder; null outside fusion"),
    ("selected", pl.String, "JSON object: what the selection chose (regulariser, k, learning rate)"),
    ("n_candidates", pl.Int64, "number of candidates the selection chose from; 1 where nothing was selected"),
    ("n_selection_labels", pl.Int64, "labels outside the budget that the selection read (held_out track), else 0"),
    ("selection", pl.String, "fixed, within_budget or held_out"),
    # scores, on the test split
    ("accuracy", pl.Float64, "share of test images classified correctly"),
    ("balanced_accuracy", pl.Float64, "mean recall over the classes present in the test split"),
    ("macro_f1", pl.Float64, "unweighted mean of the classes' F1"),
    ("macro_auroc", pl.Float64, "unweighted mean of the classes' one-vs-rest area under the ROC curve"),
    ("mean_specificity", pl.Float64, "unweighted mean of the classes' specificity, one against the rest"),
    (
        "combined",
        pl.Float64,
        "mean of macro_auroc and balanced_accuracy (the capsule-endoscopy challenge's ranking score)",
    ),
    ("nll", pl.Float64, "mean negative log-likelihood, nats"),
    ("ece", pl.Float64, "expected calibration error, 15 bins"),
    ("miou", pl.Float64, "mean intersection over union; null outside segmentation"),
    ("pixel_accuracy", pl.Float64, "share of test pixels classified correctly; null outside segmentation"),
    ("boundary_f1", pl.Float64, "mean boundary F1 of the classes; null outside segmentation"),
    ("exact_ratio", pl.Float64, "share of episodes with every class decision right; null outside few-shot"),
    ("class_counts", pl.List(pl.Int64), "test images of each class; null where images have no class of their own"),
    ("class_correct", pl.List(pl.Int64), "correctly classified test images of each class"),
    ("correct", pl.Binary, "bitmap of correct test items, in the order of the split table, numpy.packbits"),
    ("n_test", pl.Int64, "number of test items"),
    # cost
    ("pretrain_seconds", pl.Float64, "wall seconds of the pretraining, all sittings"),
    ("gpu_seconds", pl.Float64, "GPU seconds of the pretraining (wall seconds x GPUs); 0 on CPU"),
    (
        "search_seconds",
        pl.Float64,
        "wall seconds of the search that chose the nuisances, all its trials included",
    ),
    ("evaluate_seconds", pl.Float64, "wall seconds of the evaluation, shared evenly by the rows computed together"),
    ("parameters", pl.Int64, "parameters of the encoder"),
    ("bytes_added", pl.Int64, "bytes a deployment adds for this entrant"),
    (
        "flops",
        pl.Float64,
        "multiply-adds of the networks the entrant runs on one image, times two; null where not counted",
    ),
    (
        "inference_per_second",
        pl.Float64,
        "images per second through all the entrant deploys, measured; null where it was not",
    ),
    (
        "details",
        pl.String,
        "JSON object: what pretraining and protocol measured beside the columns, e.g. bits per weight of a mask",
    ),
    # provenance
    ("version", pl.String, "version of bench"),
    ("git_commit", pl.String, "commit of the checkout; null outside one"),
    ("git_dirty", pl.Boolean, "whether the checkout had uncommitted changes"),
    ("numerical_versions", pl.String, "JSON object: numerical version of each piece of code the row depends on"),
    ("source_hash", pl.String, "digest of the source of the modules that made the row"),
    ("packages", pl.String, "JSON object: versions of the packages that change numbers"),
    ("device", pl.String, "what the pretraining ran on"),
    ("host", pl.String, "name of the host that wrote the row"),
    ("started", pl.Datetime("us", "UTC"), "start of the evaluation"),
    ("finished", pl.Datetime("us", "UTC"), "end of the evaluation"),
    ("status", pl.String, "ok, diverged, collapsed or failed"),
    ("reason", pl.String, "one line: why the status is not ok"),
)

TRIAL_COLUMNS = _columns(
    ("schema_version", pl.Int64, "version of this schema"),
    ("search_key", pl.String, "content key of the search: setting, space, trial budget, seed, data, versions"),
    ("number", pl.Int64, "number of the trial within its search"),
    ("method", pl.String, "method the setting belongs to"),
    ("setting", pl.String, "JSON object: the scientific axes of the setting"),
    ("parameters", pl.String, "JSON object: the nuisance values tried"),
    ("objective", pl.String, "what was maximised, e.g. linear.balanced_accuracy@10 on validation data"),
    ("value", pl.Float64, "the objective at the end; null unless complete"),
    ("curve", pl.List(pl.Struct({"epoch": pl.Float64, "value": pl.Float64})), "the objective at each rung"),
    ("state", pl.String, "complete, pruned, diverged or failed"),
    ("reason", pl.String, "one line: why the state is not complete"),
    ("seconds", pl.Float64, "wall seconds of the trial"),
    ("gpu_seconds", pl.Float64, "GPU seconds of the trial"),
    ("host", pl.String, "host that ran the trial"),
    ("finished", pl.Datetime("us", "UTC"), "when the trial's record was written"),
)

ROWS = pl.Schema({column.name: column.dtype for column in ROW_COLUMNS})
TRIALS = pl.Schema({column.name: column.dtype for column in TRIAL_COLUMNS})
