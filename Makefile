# Every target makes .venv from constraints.txt when it is missing or out of date.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready
export HF_HUB_OFFLINE ?= 1
CHOSEN := -m 'not soak and not gpu and not vllm'
FAST := tests/test_architecture.py tests/unit

.PHONY: setup demo test test-fast test-vllm coverage lint format docs bench soak catalog-vilt catalog-clip catalog-chat clean
setup: $(READY)

# torch goes first: without the pin in place, other packages would pull a build with CUDA libraries.
$(READY): pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet --constraint constraints.txt torch
	$(BIN)/pip install --quiet --constraint constraints.txt --editable '.[dev]'
	touch $@

demo: $(READY)
	$(BIN)/vqa-ray demo

# What starts neither Ray nor a browser on all cores; the rest in two processes, each with one local Ray.
test: $(READY)
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n auto $(CHOSEN) $(FAST)
	$(BIN)/python -m pytest -n 2 --dist loadfile --no-loadscope-reorder $(CHOSEN) \
	  --ignore tests/test_architecture.py --ignore tests/unit

# Without Ray and browsers, on all cores.
test-fast: $(READY)
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -q -n auto $(CHOSEN) $(FAST)

# Which lines of the library no unit test runs.
coverage: $(READY)
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -q -n auto $(CHOSEN) tests/unit \
	  --cov vqa_ray --cov-report term:skip-covered

# The engine of vLLM, in an environment of its own that is made when it is missing (about 5 minutes).
test-vllm: .venv-vllm/.ready
	VLLM_CPU_KVCACHE_SPACE=1 VLLM_CPU_OMP_THREADS_BIND=nobind .venv-vllm/bin/python -m pytest -W default -m vllm tests/vllm

.venv-vllm/.ready: tests/vllm/environment.sh
	bash tests/vllm/environment.sh .venv-vllm
	touch $@

lint: $(READY)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

format: $(READY)
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

# The documentation as a site, in build/site: open build/site/index.html. Not --quiet, which hides warnings from --strict.
docs: $(VENV)/.docs
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict

$(VENV)/.docs: $(READY)
	$(BIN)/pip install --quiet --constraint constraints.txt --editable '.[docs]'
	touch $@

bench: $(READY)
	$(BIN)/python -m benchmarks.run

# The bundled catalogue model, in build/catalog-vilt-3, by the finetune job: three lessons of rendered products, each
# beginning with what the one before it learnt. About two hours on two cores; killed while it trains, the same command
# goes on.
# $(call lesson,NUMBER,PRODUCTS,SEED,QUESTIONS,MODEL,EPOCHS,LEARNING_RATE)
define lesson
	test -e build/lessons-$(1)/.rendered || { $(BIN)/vqa-ray catalog --count $(2) --seed $(3) --questions $(4) \
	  --output build/lessons-$(1) --format jsonl --rows-per-shard 500 && touch build/lessons-$(1)/.rendered; }
	$(BIN)/vqa-ray finetune --input 'build/lessons-$(1)/*.jsonl' --output build/catalog-vilt-$(1) --model $(5) --epochs $(6) \
	  --learning-rate $(7) --vocabulary build/lessons-1/_answers.txt --auxiliary category --auxiliary colour \
	  --auxiliary pattern --auxiliary motif --batch-size 128 --head-multiplier 1 --weight-decay 0.05 \
	  --warmup-fraction 0.05 --dropout 0 --augment none --validation-fraction 0.01 --export-dtype bfloat16 \
	  --checkpoint-every 200
endef
catalog-vilt: $(READY)
	$(call lesson,1,20000,1000,12,scratch,2,1e-3)
	$(call lesson,2,16000,3000,8,build/catalog-vilt-1,1,7e-4)
	$(call lesson,3,12000,4000,8,build/catalog-vilt-2,1,5e-4)

# The bundled dual encoder, in build/catalog-clip. About 40 minutes on two cores; the same command goes on.
catalog-clip: $(READY)
	test -e build/captions/.rendered || { $(BIN)/vqa-ray catalog --count 24000 --seed 5000 --captions 4 \
	  --output build/captions --format jsonl --rows-per-shard 500 && touch build/captions/.rendered; }
	$(BIN)/vqa-ray finetune --task contrastive --input 'build/captions/*.jsonl' --output build/catalog-clip --model scratch \
	  --shape image_size=112 --auxiliary category --auxiliary colour --auxiliary pattern --auxiliary motif \
	  --head-multiplier 1 --epochs 14 --batch-size 256 --learning-rate 1e-3 --weight-decay 0.05 --warmup-fraction 0.05 \
	  --dropout 0 --augment none --validation-fraction 0.01 --export-dtype bfloat16 --checkpoint-every 100

# A small chat model, in build/catalog-chat: whole from random weights behind the tower of bundled:catalog-clip, then by
# LoRA on new products; then its answers to questions about products that it has not seen, and how right they are. About
# 40 minutes on two cores; killed while it trains, the same command goes on.
# $(call talks,NUMBER,PRODUCTS,SEED)
define talks
	test -e build/talks-$(1)/.rendered || { $(BIN)/vqa-ray catalog --count $(2) --seed $(3) --questions 10 \
	  --output build/talks-$(1) --format jsonl && touch build/talks-$(1)/.rendered; }
	test -e build/lesson-$(1)/conversations.jsonl || $(BIN)/python -m benchmarks.untrained_chat build/talks-$(1) build/lesson-$(1)
endef
# $(call chat,NUMBER,MODEL,OUTPUT,OPTIONS)
define chat
	$(BIN)/vqa-ray finetune --task chat --input build/lesson-$(1)/conversations.jsonl --image-root build/talks-$(1) \
	  --model $(2) --output $(3) --batch-size 12 --validation-fraction 0.05 --max-new-tokens 8 --dtype float32 \
	  --num-workers 2 --checkpoint-every 200 $(4)
endef
catalog-chat: $(READY)
	$(call talks,1,6000,7000)
	$(call talks,2,2000,8000)
	$(call talks,3,500,9000)
	$(call chat,1,build/lesson-1/model,build/chat-whole,--full --epochs 10 --learning-rate 1.5e-3 --weight-decay 0.05)
	$(call chat,2,build/chat-whole,build/catalog-chat)
	$(BIN)/vqa-ray answer --input 'build/talks-3/*.jsonl' --output build/chat-answers --model build/catalog-chat \
	  --max-new-tokens 8 --keep kind
	$(BIN)/vqa-ray evaluate --predictions build/chat-answers --truth 'build/talks-3/*.jsonl' --protocol exact-match --by kind \
	  --output build/chat-judged

soak: $(READY)
	$(BIN)/python -m pytest -m soak --timeout 3600

clean:
	rm -rf $(VENV) build dist *.egg-info .coverage .pytest_cache .mypy_cache .ruff_cache
