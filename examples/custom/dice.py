"""A source in twenty lines: seeded, split, resumable at any roll."""

import random
from collections.abc import Iterator

from dataflare import Batch, Config, Field, Position, Schema, SourceConnector, Split, Stream, source


class DiceConfig(Config):
    """Settings of `dice`."""

    sides: int = Field(6, ge=2, description="Faces of the die.")
    rolls: int = Field(10, ge=1, description="Rolls of each die.")
    dice: int = Field(2, ge=1, description="Dice rolled side by side: one split each.")
    seed: int = Field(0, description="Same seed, same rolls.")


@source("dice", replay="exact", examples=[{"sides": 20, "rolls": 3}])
class Dice(SourceConnector[DiceConfig]):
    """Rolls dice, the same ones for the same seed; resumes at any roll."""

    def declared(self) -> dict[str, Stream]:
        return {"": Stream(Schema.of({"die": "string", "roll": "int64", "value": "int64"}))}

    def splits(self, since: Position | None) -> list[Split]:
        return [Split(f"die-{number}") for number in range(self.config.dice)]

    def read(self, split: Split, since: Position | None, until: Position | None) -> Iterator[Batch]:
        for roll in range(since["roll"] if since else 0, until["roll"] if until else self.config.rolls):
            chance = random.Random(f"{self.config.seed} {split.id} {roll}")
            row = {"die": split.id, "roll": roll, "value": chance.randint(1, self.config.sides)}
            yield Batch.of([row], position={"roll": roll + 1})
