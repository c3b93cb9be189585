"""Any verb over a folder, a manifest or long videos: in processes of one machine, or on Ray.

    report = mien.scale.run("stylize", "photos", "drawn", options={"style": "mosaic"}, local=True)
    print(report.table())

Results are addressed by what they are made of, so that a second run does only what is missing.
"""

from mien.scale.report import Failed, Report
from mien.scale.run import Progress, run
from mien.scale.verbs import VERBS

__all__ = ["VERBS", "Failed", "Progress", "Report", "run"]
