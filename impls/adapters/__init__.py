"""Adapters: one short file per third-party library, each giving implementations to judge."""
