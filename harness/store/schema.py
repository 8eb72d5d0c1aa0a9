"""The schemas of what is stored: a record per attacked case, a row per cell, originals and annotations."""

from __future__ import annotations

import pyarrow as pa

RECORD_SCHEMA = pa.schema(
    [
        pa.field("sample_id", pa.string(), nullable=False),
        pa.field("goal", pa.string(), nullable=False),  # "flip", "untargeted", …
        pa.field("target", pa.string()),  # attribute, class or identity; null where the goal names none
        pa.field("clean_correct", pa.bool_()),
        # The outcome; null where there is an error.
        pa.field("reached", pa.bool_()),
        pa.field("reached_unrounded", pa.bool_()),  # before rounding to 8 bits; null where nothing is rounded
        pa.field("valid", pa.bool_()),
        pa.field("success", pa.bool_()),  # reached and valid
        pa.field("fault", pa.string()),  # which bound an image that is not valid breaks
        pa.field("surrogate_success", pa.bool_()),  # transfer: it fooled the model it was made on
        pa.field("linf", pa.float32()),  # of the judged image, in [0, 1]
        pa.field("l2", pa.float32()),
        pa.field("l0", pa.int32()),  # pixels
        pa.field("margin_clean", pa.float32()),
        pa.field("margin_adv", pa.float32()),
        # Cost of the attack; a batch's seconds are shared equally among its cases.
        pa.field("forwards", pa.int32()),
        pa.field("backwards", pa.int32()),
        pa.field("seconds", pa.float32()),
        pa.field("found", pa.int32()),  # forwards made when the best image was found; null where not told
        pa.field("zero_gradients", pa.int32()),  # backwards whose gradient was zero, or not finite
        pa.field("error", pa.string()),
        # Heads "attributes" and "classes": every decision before and after, in the model's order.
        pa.field("decisions_clean", pa.list_(pa.bool_())),
        pa.field("decisions_adv", pa.list_(pa.bool_())),
        pa.field("adversarial", pa.binary()),  # the judged image as PNG, where the suite keeps it
        # Head "embedding": the image is compared with a reference of the person ``target``.
        pa.field("reference", pa.string()),  # its sample id
        pa.field("identity", pa.string()),  # the person in the attacked image
        pa.field("distance_clean", pa.float32()),  # to the reference, in the model's own distance
        pa.field("distance_adv", pa.float32()),
        pa.field("threshold", pa.float32()),  # accepted is what lies below; of triplets: the margin
        pa.field("negative", pa.string()),  # of triplets: the sample id of the other person's image
        pa.field("found_by", pa.string()),  # which member of an ensemble found the image; null elsewhere
    ]
)
"""Every shard's columns; measures ("pass", …) and models' observations add float32 columns of their own."""

CELL_SCHEMA = pa.schema(
    [
        pa.field("cell", pa.string(), nullable=False),  # id: the folder under samples/
        pa.field("dataset", pa.string(), nullable=False),
        pa.field("stand_in_for", pa.string()),  # the data set that this one stands in for
        pa.field("model", pa.string(), nullable=False),
        pa.field("attack", pa.string(), nullable=False),  # "ffa"; for transfer "ffa from separate"
        pa.field("surrogate", pa.string()),  # transfer: the model that the attack saw; null elsewhere
        pa.field("source", pa.string()),  # transfer: the cell whose adversarials are judged here
        pa.field("threat", pa.string(), nullable=False),  # "linf 8/255", "linf minimal", …
        pa.field("region", pa.string()),  # digest of the pixels that may change; null: all, or not known
        pa.field("norm", pa.string()),  # of the threat
        pa.field("eps", pa.float64()),  # of the threat; null where the attack looks for the smallest
        pa.field("access", pa.string()),  # what the attack saw: "gradients", "scores", "decisions"
        pa.field("budget", pa.string()),  # of the attack: "fixed", "minimal", "either"
        pa.field("traits", pa.string()),  # of the attack, joined by commas
        pa.field("randomised", pa.bool_()),  # the model answered the same images in two ways
        pa.field("goal", pa.string(), nullable=False),
        pa.field("seed", pa.int64(), nullable=False),
        pa.field("status", pa.string(), nullable=False),  # "done", "failed", "partial", "skipped"
        pa.field("error", pa.string()),  # why it failed, or was skipped
        pa.field("cases", pa.int64()),
        pa.field("cases_done", pa.int64()),
        pa.field("cases_failed", pa.int64()),
        pa.field("shards", pa.int64()),
        pa.field("shards_done", pa.int64()),
        pa.field("forwards", pa.int64()),
        pa.field("backwards", pa.int64()),
        pa.field("seconds", pa.float64()),
        pa.field("dataset_use", pa.string()),
        pa.field("dataset_parameters", pa.string()),  # JSON
        pa.field("dataset_source", pa.string()),  # JSON: what a derived data set is made from
        pa.field("dataset_fingerprint", pa.string()),
        pa.field("model_use", pa.string()),
        pa.field("model_parameters", pa.string()),  # JSON
        pa.field("model_version", pa.string()),  # distribution, version, revision
        pa.field("weights", pa.string()),  # digest of the weights file
        pa.field("attack_use", pa.string()),
        pa.field("attack_parameters", pa.string()),  # JSON
        pa.field("attack_version", pa.string()),
        pa.field("model_traits", pa.string()),  # joined by commas
        pa.field("model_flags", pa.string()),  # of its clean answers, joined by commas; null: not examined
        pa.field("judge", pa.string()),  # "apart": no attack ran in a process that judged a shard; or "here"
        pa.field("checksum", pa.string()),  # of its shards' checksums; null where a shard has none
    ]
)
"""cells.parquet: one row per cell of the current plan, and one per skipped pair."""


ORIGINAL_SCHEMA = pa.schema(
    [
        pa.field("dataset", pa.string(), nullable=False),
        pa.field("sample_id", pa.string(), nullable=False),
        pa.field("original", pa.binary(), nullable=False),  # PNG
    ]
)
"""originals.parquet: the attacked images, once each, where the suite keeps adversarials."""

ANNOTATION_SCHEMA = pa.schema(
    [
        pa.field("dataset", pa.string(), nullable=False),
        pa.field("sample_id", pa.string(), nullable=False),
        pa.field("name", pa.string(), nullable=False),
        pa.field("value", pa.float64(), nullable=False),
    ]
)
"""annotations.parquet: numbers that data sets know of the attacked images."""


COMPARISON_SCHEMA = pa.schema(
    [
        pa.field("dataset", pa.string(), nullable=False),
        pa.field("model", pa.string(), nullable=False),
        pa.field("probe", pa.string(), nullable=False),  # sample ids
        pa.field("reference", pa.string(), nullable=False),
        pa.field("probe_identity", pa.string(), nullable=False),
        pa.field("reference_identity", pa.string(), nullable=False),
        pa.field("same", pa.bool_(), nullable=False),
        pa.field("split", pa.string(), nullable=False),  # "calibration", "attacked"
        pa.field("fold", pa.int32()),  # null where there are none
        pa.field("distance", pa.float32(), nullable=False),  # the model's own
    ]
)
"""comparisons.parquet: a row per clean comparison of a model of embeddings."""

THRESHOLD_SCHEMA = pa.schema(
    [
        pa.field("dataset", pa.string(), nullable=False),
        pa.field("model", pa.string(), nullable=False),
        pa.field("fmr", pa.float64()),  # the rate that was asked for; null for a given threshold
        pa.field("threshold", pa.float64(), nullable=False),  # accepted is what lies below
        pa.field("squared_euclidean", pa.float64(), nullable=False),  # of the same operating point
        pa.field("cosine", pa.float64(), nullable=False),  # likewise; accepted is what lies above
        # Of the calibration.
        pa.field("false_matches", pa.int64(), nullable=False),
        pa.field("impostors", pa.int64(), nullable=False),
        pa.field("genuine", pa.int64(), nullable=False),
        pa.field("identities", pa.int64(), nullable=False),
        pa.field("empirical_fmr", pa.float64(), nullable=False),
        pa.field("empirical_fnmr", pa.float64()),
        # Of the attacked persons.
        pa.field("fmr_here", pa.float64()),
        pa.field("fnmr_here", pa.float64()),
        pa.field("flag", pa.string(), nullable=False),
    ]
)
"""thresholds.parquet: a row per operating point of a model of embeddings; attacks are run at the first."""


_JUDGE = b"harness.judge"
"""Metadata of a part's schema: that no attack ran in the process that judged it."""


def judged_apart(table: pa.Table) -> pa.Table:
    """Return the records of a shard with the mark that they were judged apart."""
    return table.replace_schema_metadata({**(table.schema.metadata or {}), _JUDGE: b"apart"})


def judge_of(schema: pa.Schema) -> str:
    """Return where the attack of a shard ran: "apart", or "here", in the process that judged it."""
    return "apart" if (schema.metadata or {}).get(_JUDGE) == b"apart" else "here"


def record_schema(own: tuple[str, ...] = ()) -> pa.Schema:
    """Return the schema of a shard whose measures and observations have the given columns."""
    schema = RECORD_SCHEMA
    for name in own:
        schema = schema.append(pa.field(name, pa.float32()))
    return schema
