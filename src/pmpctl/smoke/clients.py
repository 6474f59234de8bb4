"""The checks through the makers' own Python clients, which are no part of pmpctl: what is missing is skipped."""

from pmpctl.smoke.anthropic_client import ANTHROPIC
from pmpctl.smoke.openai_client import OPENAI

CLIENTS = (*OPENAI, *ANTHROPIC)
