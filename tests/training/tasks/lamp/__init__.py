"""Tests of training/tasks/lamp."""
