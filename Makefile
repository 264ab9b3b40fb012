# What to type. The building itself is Meson's (tools/build); everything that must be installed, tools/setup's.
.PHONY: build setup test tsan faults demo serve bench fuzz soak check format clean
.DEFAULT_GOAL := build

setup:
	@tools/setup

build: setup
	@tools/build release

test: setup
	@tests/run

# Longer than a test run: every test of pytest under ThreadSanitizer; every k-th call fails
tsan: setup
	@tests/run tsan-all

faults: setup
	@tests/run faults-all

demo: build
	@tools/demo

serve: build
	@exec tools/serve

bench: build
	@tests/bench/run
	@tests/bench/spine
	@tests/bench/peers

# FUZZ_SECONDS is the time for each fuzzer
fuzz: setup
	@FUZZ_SECONDS=$${FUZZ_SECONDS:-300} tests/run fuzz

soak: build
	@tests/soak/run

check: setup
	@tools/check-rooms

format: setup
	@find src tests cli \( -name '*.c' -o -name '*.h' -o -name '*.cc' \) -print0 2>/dev/null | xargs -0r clang-format -i

clean:
	rm -rf build build-asan build-tsan build-fuzz
