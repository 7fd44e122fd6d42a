"""What a configuration file may say: models, validation, secrets, published JSON Schema."""

from ingestion_runtime.config.issues import ConfigIssue
from ingestion_runtime.config.loading import load_configuration
from ingestion_runtime.config.secrets import SecretReference

__all__ = ["ConfigIssue", "SecretReference", "load_configuration"]
