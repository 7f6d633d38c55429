"""SQL for the inputs and outputs of runs: datasets, input edges and their tags, logged models."""

from __future__ import annotations

from headrace.db.sql import Sql

DATASET = Sql(
    "SELECT dataset_uuid FROM datasets WHERE experiment_id = $1 AND name = $2 AND digest = $3"
)
INSERT_DATASET = Sql(
    "INSERT INTO datasets (dataset_uuid, experiment_id, name, digest, dataset_source_type, dataset_source,"
    " dataset_schema, dataset_profile) VALUES ($1, $2, $3, $4, $5, $6, $7, $8) ON CONFLICT DO NOTHING"
)
_EDGE_KEY = " ON CONFLICT (source_type, source_id, destination_type, destination_id) DO NOTHING"
INSERT_DATASET_EDGE = Sql(
    "INSERT INTO inputs (input_uuid, source_type, source_id, destination_type, destination_id)"
    " VALUES ($1, 'DATASET', $2, 'RUN', $3)" + _EDGE_KEY
)
INSERT_INPUT_TAG = Sql("INSERT INTO input_tags (input_uuid, name, value) VALUES ($1, $2, $3)")
INSERT_MODEL_INPUT = Sql(
    "INSERT INTO inputs (input_uuid, source_type, source_id, destination_type, destination_id, step)"
    " VALUES ($1, 'RUN_INPUT', $2, 'MODEL_INPUT', $3, 0)" + _EDGE_KEY
)
INSERT_MODEL_OUTPUT = Sql(
    "INSERT INTO inputs (input_uuid, source_type, source_id, destination_type, destination_id, step)"
    " VALUES ($1, 'RUN_OUTPUT', $2, 'MODEL_OUTPUT', $3, $4)" + _EDGE_KEY
)
# The distinct datasets of experiments, with the contexts in which runs used them.
SUMMARIES = Sql(
    "SELECT * FROM (SELECT DISTINCT d.experiment_id, d.name, d.digest, t.value FROM datasets d"
    " JOIN inputs i ON i.source_id = d.dataset_uuid"
    " LEFT JOIN input_tags t ON t.input_uuid = i.input_uuid AND t.name = 'mlflow.data.context'"
    " WHERE d.experiment_id {in $1 int}) AS found"
    " ORDER BY experiment_id, name {bytewise}, digest {bytewise}, value {bytewise} NULLS FIRST LIMIT $2"
)
