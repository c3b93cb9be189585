"""Imported before torch: its threads sleep while they wait, instead of spinning.

Where others want the processor too, a spinning thread keeps the one it waits for from running:
torch took ten times as long beside a training run, which says nothing about torch.
"""

import os

os.environ.setdefault("OMP_WAIT_POLICY", "passive")
