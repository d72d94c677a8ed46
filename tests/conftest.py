"""What libraries read when they are imported, set before the first test module imports one of them."""

from __future__ import annotations

import os

from fusionbench.offline import disable_telemetry

# the machine may be shared: threads that wait by spinning slow each other down
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ["HF_HUB_OFFLINE"] = "1"  # no test asks a hub
os.environ["MPLBACKEND"] = "Agg"
os.environ.pop("FUSIONBENCH_WORKSPACE", None)
os.environ.pop("MIMIC_ROOT", None)
disable_telemetry()
