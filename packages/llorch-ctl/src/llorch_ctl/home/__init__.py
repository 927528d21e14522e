"""This installation: how it is reached, brought up and taken down."""
