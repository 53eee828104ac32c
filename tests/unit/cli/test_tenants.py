import json
import subprocess
import sys
from pathlib import Path

RUNTIMES = {"onnxruntime", "openvino", "tokenizers", "torch"}
PROGRAM = """
import sys
from bloomweaver.cli import main
code = main.run(sys.argv[1:])
print("\\n".join(sys.modules), file=sys.stderr)
sys.exit(code)
"""


def test_a_tenants_key_is_made_without_loading_any_model(tmp_path: Path):
    arguments = ["keys", "create", "ops", "--tenant", "acme", "--json", "--data", str(tmp_path / "data")]
    ended = subprocess.run(
        [sys.executable, "-c", PROGRAM, *arguments], capture_output=True, check=False, text=True, timeout=60
    )
    assert ended.returncode == 0, ended.stderr
    assert json.loads(ended.stdout)["tenant"] == "acme"
    assert set(ended.stderr.splitlines()) & RUNTIMES == set()
