"""CPU time by process and by thread, from two looks at /proc."""

import os

from benchmarks import process_tree
from benchmarks.process_tree import ProcessUse, busiest_thread_between, cpu_between, thread_cpu_between


def use(cpu_seconds: float, **threads: float) -> ProcessUse:
    named = {f"{number} {name.rstrip('_')}": seconds for number, (name, seconds) in enumerate(threads.items())}
    return ProcessUse(pid=7, name="serve", cpu_seconds=cpu_seconds, rss_bytes=1, rss_peak_bytes=1, threads=named)


def test_a_process_is_charged_for_what_it_used_between_the_looks() -> None:
    assert cpu_between([use(1.0)], [use(3.5)]) == {"1. serve": 2.5}
    assert cpu_between([], [use(3.5)]) == {"1. serve": 3.5}


def test_threads_of_one_name_are_added_up_and_ended_ones_are_not_forgotten() -> None:
    before, after = use(1.0, main=0.5, pool=0.25, pool_=0.25), use(8.0, main=1.5, pool=2.25, pool_=1.25)
    found = thread_cpu_between([before], [after])
    assert found == {"1. serve: pool": 3.0, "1. serve: threads that have ended": 3.0, "1. serve: main": 1.0}
    assert busiest_thread_between([before], [after]) == {"1. serve": 2.0}


def test_this_process_is_found_with_its_main_thread_and_its_memory() -> None:
    own = process_tree.measure(os.getpid())[0]
    assert f"{os.getpid()} main" in own.threads
    assert own.rss_peak_bytes >= own.rss_bytes > 0
    assert process_tree.proportional_bytes([own]) > 0
