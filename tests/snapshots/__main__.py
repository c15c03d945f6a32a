"""`python -m tests.snapshots`: draw every stored picture anew."""

from __future__ import annotations

from tests import law
from tests.snapshots import HERE
from tests.snapshots.pictures import PICTURES

for name, draw in PICTURES.items():
    (HERE / name).write_text(draw(), encoding="utf-8")
    print(name)
law.draw()
print(law.DESIGN.name)
