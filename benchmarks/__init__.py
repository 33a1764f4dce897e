"""Measures DataFlare beside the engines that bound it and the tools that a user would pick instead."""
