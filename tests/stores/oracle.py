"""The expected results of a store, computed in plain Python, one passage after the other."""

import math


class Oracle:
    """Points in a dict, scored by slow and simple loops."""

    def __init__(self):
        self.points = {}

    def add(self, points):
        for i, passage in enumerate(points.passages):
            self.points[passage.id] = (
                passage,
                points.dense[i].tolist(),
                points.sparse[i],
                points.bm25[i],
                points.colbert[i].astype("f4").tolist(),
            )

    def delete(self, ids):
        for i in ids:
            self.points.pop(i, None)

    def scores(self, channel, plan):
        """Return `{id: score}` for all passages."""
        method = getattr(self, f"_{channel}")
        return {i: method(plan, *point[1:]) for i, point in self.points.items()}

    def retrieved(self, channel, plan):
        """Return the ids of the best `plan.candidates` passages."""
        scores = self.scores(channel, plan)
        if channel in ("sparse", "bm25"):
            scores = {i: s for i, s in scores.items() if s > 0}
        return sorted(scores, key=lambda i: -scores[i])[: plan.candidates]

    def _dense(self, plan, dense, sparse, bm25, colbert):
        return dot(plan.dense.tolist(), dense)

    def _sparse(self, plan, dense, sparse, bm25, colbert):
        return sum(w * sparse.get(t, 0.0) for t, w in plan.sparse.items())

    def _bm25(self, plan, dense, sparse, bm25, colbert):
        return sum(w * self._idf(t) * bm25.get(t, 0.0) for t, w in plan.bm25.items())

    def _colbert(self, plan, dense, sparse, bm25, colbert):
        best = [max(dot(q, p) for p in colbert) for q in plan.colbert.tolist()]
        return sum(best) / len(best)

    def _idf(self, token):
        n = sum(token in point[3] for point in self.points.values())
        return math.log(1 + (len(self.points) - n + 0.5) / (n + 0.5))


def dot(a, b):
    return sum(x * y for x, y in zip(a, b, strict=True))
