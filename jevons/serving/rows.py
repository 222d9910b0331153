"""The schedule of a day as a table for engines that run along it, with a note of the totals at the end of each hour."""

from __future__ import annotations

from math import inf

import numpy as np

from jevons.randomness import Floats
from jevons.serving import sizing
from jevons.serving.colocated import prompt_slots
from jevons.serving.compiled.state import (
    ROW_COLUMNS,
    ROW_CONTEXT_PER_S,
    ROW_EXPECTED_LANES,
    ROW_IS_NOTE,
    ROW_LANES,
    ROW_LANES_NODES,
    ROW_NODES,
    ROW_PROMPT_SLOTS,
    ROW_PROMPTS_PER_S,
    ROW_REPLICAS,
    ROW_SLOWNESS,
    ROW_STEP,
    ROW_TIME,
    ROW_TOKENS_PER_S,
)
from jevons.serving.control import Schedule
from jevons.serving.disaggregated import lanes_of_cell
from jevons.serving.interface import Day
from jevons.serving.layouts import nodes_of_cell


def rows_of(day: Day, schedule: Schedule, down: int) -> Floats:
    """Rows of a day or of a stack of days, with the nodes there are when so many are under repair; shape (..., k,
    columns).
    """
    serving, load, nodes = day.serving, schedule.load, schedule.nodes(down)
    share = np.asarray(day.share_simulated)[..., None]
    table = np.zeros((*nodes.shape[:-1], day.hours + 1 + nodes.shape[-1], ROW_COLUMNS))
    notes, rows = table[..., : day.hours + 1, :], table[..., day.hours + 1 :, :]
    notes[..., ROW_TIME] = (day.warm_up_hours + np.arange(day.hours + 1.0)) * day.seconds_per_hour
    notes[..., ROW_IS_NOTE] = 1.0
    rows[..., ROW_TIME] = schedule.times_s
    decoding = nodes
    if serving.layout == "disaggregated":
        to_prefill = sizing.prefill_share(serving, load, nodes)
        prefilling, decoding = nodes * to_prefill, nodes * (1 - to_prefill)
        lane_s_per_token = sizing.prefill_node_seconds(serving) * serving.prefill_lanes
        rows[..., ROW_LANES_NODES] = prefilling
        rows[..., ROW_LANES], rows[..., ROW_SLOWNESS] = lanes_of_cell(prefilling, serving.prefill_lanes, share)
        rows[..., ROW_EXPECTED_LANES] = load.prefill_tokens_per_s * lane_s_per_token
    elif serving.routing == "pooled":
        rows[..., ROW_PROMPT_SLOTS] = prompt_slots(nodes, share)
    else:
        # Of each single node.
        rows[..., ROW_PROMPT_SLOTS] = prompt_slots(np.minimum(nodes, 1.0), 1.0)
    if serving.routing != "pooled":
        rows[..., ROW_REPLICAS] = nodes_of_cell(decoding, share)
    rows[..., ROW_NODES] = decoding
    rows[..., ROW_PROMPTS_PER_S] = np.divide(
        load.prefill_tokens_per_s, decoding, out=np.zeros_like(decoding), where=decoding > 0
    )
    rows[..., ROW_TOKENS_PER_S] = load.decode_tokens_per_s
    rows[..., ROW_CONTEXT_PER_S] = load.context_tokens2_per_s
    rows[..., ROW_STEP] = np.nan_to_num(sizing.balanced_step_s(serving, load, decoding), posinf=inf)
    # The times of all days are the same; at the same time a note is taken first.
    order = np.argsort(table.reshape(-1, *table.shape[-2:])[0, :, ROW_TIME], kind="stable")
    return np.take(table, order, axis=-2)
