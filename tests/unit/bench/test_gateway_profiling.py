from bench.gateway.profiling import hottest


def test_a_function_counts_once_a_stack_however_often_it_calls_itself() -> None:
    _, *rows = hottest("main (a.py:1);walk (b.py:2);walk (b.py:2) 3\nmain (a.py:1) 1\n").splitlines()
    assert [row.split() for row in rows] == [
        ["75.0", "75.0", "walk", "(b.py:2)"],
        ["25.0", "100.0", "main", "(a.py:1)"],
    ]


def test_a_thread_that_only_waits_takes_no_share() -> None:
    _, *rows = hottest("run (a.py);Condition.wait (threading.py);lock (c) 90\nwork (a.py) 10\n").splitlines()
    assert [row.split() for row in rows] == [["100.0", "100.0", "work", "(a.py)"]]
