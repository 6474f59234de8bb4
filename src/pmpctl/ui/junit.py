"""The checks as JUnit's XML, which build servers show."""

import re
from collections.abc import Callable
from typing import TYPE_CHECKING
from xml.etree import ElementTree as ET

if TYPE_CHECKING:
    from pmpctl.operations.smoke import SmokeReport

# What XML 1.0 has no way to write.
_UNWRITABLE = re.compile(r"[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


def junit(report: "SmokeReport", clean: Callable[[str], str]) -> str:
    """`clean` frees each text of secrets; a warning is a pass with words in its output."""

    def text(value: str) -> str:
        return _UNWRITABLE.sub("\ufffd", clean(value))

    suite = ET.Element(
        "testsuite",
        name=text(f"pmpctl smoke {report.url}"),
        tests=str(len(report.checks)),
        failures=str(report.counts["fail"]),
        errors="0",
        skipped=str(report.counts["skipped"]),
        time=f"{report.seconds:.3f}",
    )
    for check in report.checks:
        case = ET.SubElement(
            suite, "testcase", name=check.name, classname=f"smoke.{check.group}", time=f"{check.seconds:.3f}"
        )
        if check.verdict == "fail":
            ET.SubElement(case, "failure", message=text(check.detail)).text = text(f"{check.detail}\n{check.cure}")
        elif check.verdict == "skipped":
            ET.SubElement(case, "skipped", message=text(check.detail))
        elif check.verdict == "warn":
            ET.SubElement(case, "system-out").text = text(f"warning: {check.detail}\n{check.cure}")
    ET.indent(suite)
    return ET.tostring(suite, encoding="unicode", xml_declaration=False) + "\n"
