"""Which AMD cards sysfs shows, what each is called, and by which id it is known for ever."""

from dataclasses import dataclass
from typing import Final

from pool_core.devices.tree import Tree

__all__ = ["AmdCard", "find_cards", "parse_card_names"]

_CARDS: Final = "sys/class/drm"
_AMD: Final = 0x1002


@dataclass(frozen=True, slots=True)
class AmdCard:
    """What never changes while the driver holds the card; folder is the PCI device's in sysfs."""

    folder: str
    device: int
    revision: int
    unique_id: int | None
    pci_address: str | None
    render_minor: int | None
    driver: str | None

    @property
    def stable_id(self) -> str:
        """ROCm's own name of the card where it has a number, else its place and kind."""
        return f"GPU-{self.unique_id:016x}" if self.unique_id else self.place_id

    @property
    def place_id(self) -> str:
        """The slot it sits in and what sits there."""
        place = self.pci_address or self.folder.split("/")[-2]
        return f"PCI-{place}-{_AMD:04x}:{self.device:04x}"


def find_cards(tree: Tree) -> list[AmdCard]:
    """Every AMD card that a graphics driver holds, in the order of the PCI bus."""
    found: list[AmdCard] = []
    for name in tree.names(_CARDS):
        folder = f"{_CARDS}/{name}/device"
        # card1-DP-1 is a connector of card1.
        is_card = name.startswith("card") and name.removeprefix("card").isdecimal()
        if is_card and tree.number(f"{folder}/vendor", 16) == _AMD:
            found.append(_card(tree, folder))
    return sorted(found, key=lambda card: (card.pci_address or "~", card.folder))


def parse_card_names(text: str) -> dict[tuple[int, int], str]:
    """Read amdgpu.ids: `744C,<tab>C8,<tab>AMD Radeon RX 7900 XTX`, by device and revision."""
    found: dict[tuple[int, int], str] = {}
    for line in text.splitlines():
        fields = [field.strip() for field in line.split(",", 2)]
        if line.startswith("#") or len(fields) != 3:
            continue
        try:
            found.setdefault((int(fields[0], 16), int(fields[1], 16)), fields[2])
        except ValueError:
            continue
    return found


def _card(tree: Tree, folder: str) -> AmdCard:
    uevent = dict(
        line.split("=", 1) for line in tree.text(f"{folder}/uevent").splitlines() if "=" in line
    )
    minors = [
        int(name.removeprefix("renderD"))
        for name in tree.names(f"{folder}/drm")
        if name.startswith("renderD") and name.removeprefix("renderD").isdecimal()
    ]
    driver = uevent.get("DRIVER")
    version = tree.text(f"sys/module/{driver}/version") if driver else ""
    return AmdCard(
        folder=folder,
        device=tree.number(f"{folder}/device", 16) or 0,
        revision=tree.number(f"{folder}/revision", 16) or 0,
        unique_id=tree.number(f"{folder}/unique_id", 16),
        pci_address=uevent.get("PCI_SLOT_NAME", "").lower() or None,
        render_minor=min(minors, default=None),
        driver=f"{driver} {version}".strip() if driver else None,
    )
