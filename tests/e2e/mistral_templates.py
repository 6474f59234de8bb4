"""Run by vLLM's own Python: renders conversations with the template that mistral-common makes for its v13 format."""

import json
import sys

from mistral_common.integrations.chat_templates.template_generator import TemplateConfig, build_chat_template
from mistral_common.tokens.tokenizers.base import TokenizerVersion
from transformers.utils.chat_template_utils import _compile_jinja_template
from vllm.renderers.hf import _detect_content_format

asked = json.load(sys.stdin)
template = _compile_jinja_template(
    build_chat_template(TemplateConfig(version=TokenizerVersion.v13, image_support=True))
)
print(
    json.dumps(
        {
            "rendered": [template.render(**conversation) for conversation in asked["conversations"]],
            "content_format": _detect_content_format(asked["ours"], default="string"),
        }
    )
)
