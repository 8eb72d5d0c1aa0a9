"""This plugin has analyses of verification, as biometrics engineers and Arvinte et al. show it."""

from __future__ import annotations

from harness.hookspecs import hookimpl
from harness.specs import AnalysisSpec

PAPER = "Arvinte et al., Robust Face Verification via Disentangled Representations"


@hookimpl
def harness_analyses() -> list[AnalysisSpec]:
    """Return the analyses of this plugin; all read comparisons.parquet and records alone."""

    def spec(name: str, module: str, summary: str, source: str = "") -> AnalysisSpec:
        return AnalysisSpec(
            name=name, summary=summary, source=source, run=f"harness_biometrics.analyses.{module}:run"
        )

    return [
        spec("verification", "numbers", "all verification metrics, clean and under each attack"),
        spec("verification-thresholds", "operating_points", "FMR, FNMR and attack success at each threshold"),
        spec("roc", "roc", "genuine comparisons accepted against impostors accepted, clean and attacked"),
        spec("precision-recall", "precision_recall", "intruders found against alarms that are right"),
        spec("det", "det", "FNMR against FMR on probit axes, with what keeps attacks below 5 %"),
        spec("menagerie", "menagerie", "who is imitated and who imitates easily"),
        spec("verification-tables", "paper_tables", "clean and attacked areas", f"{PAPER}, tables 1 and 2"),
        spec("verification-claims", "claims", "the paper's claims, judged on these records", PAPER),
        spec("distal-images", "distal", "images that a model takes for a person", f"{PAPER}, figure 4"),
        spec("attack-masks", "masks", "which pixels each attack changes", f"{PAPER}, figures 6 and 7"),
        spec("patches-on-faces", "patches", "targets, patches and patched faces", f"{PAPER}, figure 8"),
    ]
