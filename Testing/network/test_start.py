"""What a start of the program costs."""

import subprocess
import sys

LOAD = """
import sys
from IrisSegmentLib.network import load_network
load_network()
sys.exit("torch._dynamo" in sys.modules)
"""


def test_a_network_is_loaded_without_torch_s_compiler():
    """It takes seconds and 70 MB, and leaves an empty folder in the temporary one."""
    assert subprocess.run([sys.executable, "-c", LOAD]).returncode == 0
