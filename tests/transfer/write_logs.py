"""Wrote tests/transfer/tensorboard: `python -m tests.transfer.write_logs DIRECTORY`, with tensorboardX 2.6.5.

The files are kept, so that no test needs the package.
"""

from __future__ import annotations

import math
import sys
from pathlib import Path

import numpy as np
from tensorboardX import SummaryWriter
from tensorboardX.event_file_writer import EventsWriter
from tensorboardX.proto.event_pb2 import Event
from tensorboardX.proto.summary_pb2 import Summary, SummaryMetadata
from tensorboardX.proto.tensor_pb2 import TensorProto


def write_runs(root: Path) -> None:
    """A run, two below it, one of them with hyperparameters in a run of its own."""
    for below in ("", "train", "train/fold 1"):
        with SummaryWriter(str(root / below)) as writer:
            for step in range(20):
                writer.add_scalar("loss/a(b)", 1 / (step + 1), step, walltime=1_700_000_000 + step)
            writer.add_histogram("weights", np.arange(10), 1)
            writer.add_text("note", "text", 1)
            if below == "train":
                params = {"lr": 0.1, "layers": 3, "norm": True, "opt": "sgd"}
                writer.add_hparams(params, {"acc": 0.9}, name="tuned")


def write_tensors(root: Path) -> None:
    """Scalars as TensorFlow 2 writes them, and tensors that are no scalars."""
    root.mkdir(parents=True)
    writer = EventsWriter(str(root / "run"))
    scalars = SummaryMetadata(plugin_data=SummaryMetadata.PluginData(plugin_name="scalars"))
    other = SummaryMetadata(plugin_data=SummaryMetadata.PluginData(plugin_name="images"))
    tensors = {
        "float": TensorProto(dtype="DT_FLOAT", float_val=[0.5]),
        "content": TensorProto(dtype="DT_FLOAT", tensor_content=np.float32(0.25).tobytes()),
        "double": TensorProto(dtype="DT_DOUBLE", double_val=[math.inf]),
        "int": TensorProto(dtype="DT_INT64", int64_val=[-300]),
        "zero": TensorProto(dtype="DT_FLOAT"),
        "x(1)": TensorProto(dtype="DT_INT32", int_val=[1]),
        "/x[1]": TensorProto(dtype="DT_INT32", int_val=[2]),
        "many": TensorProto(dtype="DT_FLOAT", float_val=[1, 2]),
        "text": TensorProto(dtype="DT_STRING", string_val=[b"x"]),
    }
    values = [Summary.Value(tag=tag, tensor=one, metadata=scalars) for tag, one in tensors.items()]
    values.append(Summary.Value(tag="image", tensor=tensors["float"], metadata=other))
    writer.write_event(Event(wall_time=5.5, step=3, summary=Summary(value=values)))
    later = Summary(value=[Summary.Value(tag="float", tensor=tensors["float"])])  # no metadata
    writer.write_event(Event(wall_time=6, step=-1, summary=later))
    writer.close()


if __name__ == "__main__":
    write_runs(Path(sys.argv[1]) / "logs")
    write_tensors(Path(sys.argv[1]) / "tensors")
