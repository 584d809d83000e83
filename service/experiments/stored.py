"""Reads the JSON columns of an experiment's rows as structs."""

import msgspec

from service.database.tables import Experiment, ExperimentArm
from service.experiments.arms import ArmSettings
from service.experiments.request_schemas import CreateExperiment


def stored_request(row: Experiment) -> CreateExperiment:
    """The body of the create, without its arms."""
    return msgspec.convert(row.request, CreateExperiment)


def stored_settings(row: ExperimentArm) -> ArmSettings:
    """The settings of an arm."""
    return msgspec.convert(row.settings, ArmSettings)
