"""Phones that are connected to this machine: what their makers' tools are told and what they answer."""

APP = "org.voloedge.app"  # the apps' name on a phone: Android's application id, iOS's bundle identifier
