"""Sentinel: the Django project, its commands, and the pipeline that joins the apps."""

__version__ = "0.1.0"
