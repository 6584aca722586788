"""The spade of the garden."""

import garden


# Digs, and rests after each hole.
class Spade(garden.Tool):
    """A tool: def nothing(): it digs."""

    @property
    def depth(self) -> float:
        return 0.3

    async def dig(self, holes: int = 3, *, where: str = "the bed ({") -> None:
        for hole in range(holes):
            await self.push(where, f"hole {hole}")
