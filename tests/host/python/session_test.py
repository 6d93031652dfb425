# SPDX-License-Identifier: Apache-2.0
"""onebit.Session, by numpy: steps, arrays, errors, Ctrl-C, forks, checkpoints."""

import logging
import os
import signal
import subprocess
import sys
import tempfile
import time
import unittest

import numpy
from ranks import ADAM, ONEBIT_ADAM, Ranks, exact_gradients, free_port

import onebit

# What C++ and C get for the same gradients: tests/host/c_api/c_api_test.cpp has the same number.
HASH_OF_EXACT_STEPS = "2e38583da8788627"


HERE = os.path.dirname(os.path.abspath(__file__))


def small():
    return {"w": numpy.full((30, 20), 0.5, dtype=numpy.float32), "b": numpy.full(40, -1.0, dtype=numpy.float32)}


class Steps(unittest.TestCase):
    def test_the_same_bits_as_from_c_and_cpp(self):
        def body(rank, place):
            parameters = {"t0": numpy.full(700, 0.5, numpy.float32), "t1": numpy.full(40, -1.0, numpy.float32)}
            with onebit.Session(ONEBIT_ADAM, parameters, rendezvous=place) as session:
                for step in range(1, 9):
                    report = session.step(exact_gradients(parameters, step, rank))
                    self.assertEqual((report.number, report.compressed), (step, step > 3))
                self.assertEqual(session.report()["traffic"]["compressed_steps"], 5)
                return f"{session.parameter_hash():016x}"

        self.assertEqual(Ranks(2).run(body), [HASH_OF_EXACT_STEPS] * 2)

    def test_in_parts_it_is_the_same_step(self):
        def body(rank, place, in_parts):
            parameters = small()
            with onebit.Session(ONEBIT_ADAM, parameters, rendezvous=place) as session:
                for step in range(1, 6):
                    gradients = exact_gradients(parameters, step, rank)
                    if in_parts:
                        session.begin()
                        for k in (1, 0):
                            session.ready_at([k], [gradients[k].ctypes.data])
                        session.finish()
                    else:
                        session.step({"b": gradients[1], "w": gradients[0]})
                return session.parameter_hash()

        self.assertEqual(Ranks(2).run(body, True), Ranks(2).run(body, False))

    def test_parameters_are_changed_where_they_are_and_gradients_are_only_read(self):
        parameters = small()
        place = parameters["w"].ctypes.data
        with onebit.Session(ADAM, parameters) as session:
            gradients = exact_gradients(parameters, 1, 0)
            for gradient in gradients:
                gradient.flags.writeable = False
            seen = []
            session.on_step = seen.append
            session.step(gradients)
            session.step([gradients[0], None])
            self.assertEqual([report.absent for report in seen], [0, 1])
        self.assertEqual(parameters["w"].ctypes.data, place)
        self.assertFalse(numpy.array_equal(parameters["w"], small()["w"]))

    def test_settings(self):
        groups = onebit.Manifest(ADAM.text + '[[optimizer.group]]\ntensors = ["b"]\nlr = 0.5\n')
        with onebit.Session(groups, small(), overrides=["optimizer.lr=0.25"]) as session:
            self.assertEqual(session.learning_rates, [0.25, 0.5])
            session.learning_rates = [0.5, 0.125]
            self.assertEqual(session.learning_rates, [0.5, 0.125])
            session.set_gradient_scale(0.5)
            session.next_step = 7
            session.request_sync()
            with session.at_anchor():
                pass
            self.assertEqual(session.step(exact_gradients(small(), 1, 0)).number, 7)
            self.assertEqual(session.next_step, 8)
            self.assertEqual(session.all_reduce([2, 3], "max"), [2, 3])
            self.assertIn("lr = 0.25", session.configuration)
            self.assertEqual(session.settle().number, 7)


class Arrays(unittest.TestCase):
    def refused(self, error, part, parameters, *gradients):
        with self.assertRaises(error) as caught:
            with onebit.Session(ADAM, parameters) as session:
                session.step(list(gradients))
        self.assertIn(part, str(caught.exception))

    def test_what_will_not_do_is_refused_by_name(self):
        good = numpy.zeros((4, 6), numpy.float32)
        fixed = good.copy()
        fixed.flags.writeable = False
        odd = numpy.zeros(101, numpy.uint8)[1:].view(numpy.float32)
        self.refused(TypeError, "parameter 'w' is read-only", {"w": fixed})
        self.refused(TypeError, "is of float64; expected float32", {"w": good.astype(numpy.float64)})
        self.refused(TypeError, "is of >f4", {"w": good.astype(">f4")})
        self.refused(TypeError, "is not aligned", {"w": odd})
        self.refused(TypeError, "is a list", {"w": [1.0]})
        self.refused(onebit.InvalidArgumentError, "'w'", {"w": good[:, ::2]})
        self.refused(onebit.InvalidArgumentError, "'w'", [("w", good), ("v", good)])
        self.refused(TypeError, "the gradient of 'w' has shape (6, 4)", {"w": good}, good.T.copy())
        self.refused(TypeError, "the gradient of 'w' has shape (4, 6), strides (1, 4)", {"w": good}, good.copy(order="F"))
        self.refused(TypeError, "is not fp32", {"w": good}, good.astype(numpy.float16))
        self.refused(ValueError, "2 gradients were given; expected 1", {"w": good}, good.copy(), good.copy())

    def test_other_orders_of_dimensions_and_fp16_are_taken(self):
        parameters = {"f": numpy.ones((4, 6), numpy.float32, order="F"), "h": numpy.ones(8, numpy.float16)}
        with onebit.Session(ADAM, parameters) as session:
            session.step([numpy.ones((4, 6), numpy.float32, order="F"), numpy.ones(8, numpy.float32)])
        self.assertTrue((parameters["f"] < 1).all() and (parameters["h"] < 1).all())

    def test_dlpack_is_read_without_being_consumed(self):
        class Foreign:  # knows nothing but DLPack
            def __init__(self, array):
                self.array, self.asked = array, 0

            def __dlpack__(self, **version):
                self.asked += 1
                return self.array.__dlpack__(**version)

        array = numpy.ones((3, 5), numpy.float32)
        foreign = Foreign(array)
        with onebit.Session(ADAM, {"w": foreign}) as session:
            session.step([Foreign(numpy.ones((3, 5), numpy.float32))])
        self.assertEqual(foreign.asked, 1 if numpy.lib.NumpyVersion(numpy.__version__) >= "2.1.0" else 2)
        self.assertTrue((array < 1).all())


class Ends(unittest.TestCase):
    def test_errors_have_their_kind_and_their_place(self):
        with self.assertRaises(onebit.InvalidArgumentError) as caught:
            onebit.Session(onebit.Manifest('[optimizer]\nplugin = "adam"\nlrr = 1\n', "my.toml"), small())
        self.assertIn("my.toml:3:1", str(caught.exception))
        self.assertIsInstance(caught.exception, ValueError)
        with self.assertRaises(onebit.UnavailableError) as caught:
            onebit.Session(onebit.Manifest('[optimizer]\nplugin = "adan"\n[communicator]\nplugin = "threads"\n'), small())
        self.assertIn("adam", str(caught.exception))
        with self.assertRaises(onebit.Error):
            onebit.Session("no such file.toml", small())
        with self.assertRaises(ValueError):
            onebit.Session(ADAM, small(), log_level="loud")
        with self.assertRaises(onebit.TimeoutError) as caught:
            onebit.Rendezvous.tcp(1, 2, "127.0.0.1", free_port(), timeout=1.2)
        self.assertIn("rank 1 could not reach rank 0's rendezvous", str(caught.exception))

    def test_the_log_goes_to_python_and_is_silent_by_default(self):
        missing = os.path.join(tempfile.gettempdir(), "no such folder of plugins")
        with self.assertLogs("onebit", logging.WARNING) as logged:
            onebit.Session(ADAM, small(), plugins=[missing]).close()
        self.assertIn(missing, logged.output[0])
        program = (
            "import onebit, numpy, sys; from ranks import ADAM; "
            "onebit.Session(ADAM, {'w': numpy.ones(9, 'f4')}, plugins=[sys.argv[1]]).close()"
        )
        told = subprocess.run([sys.executable, "-c", program, missing], cwd=HERE, capture_output=True, text=True)
        self.assertEqual((told.returncode, told.stdout, told.stderr), (0, "", ""))

    def test_what_is_saved_is_loaded_with_the_programs_own_bytes(self):
        def body(rank, place, root, steps, load):
            parameters = small()
            with onebit.Session(ONEBIT_ADAM, parameters, rendezvous=place) as session:
                if load:
                    report = session.load(root)
                    self.assertEqual((report.step, session.loaded("data")), (5, b"rank %d" % rank))
                    self.assertIsNone(session.loaded("none"))
                while session.next_step <= steps:
                    session.step(exact_gradients(parameters, session.next_step, rank))
                if not load and steps == 5:
                    saved = session.save(root, of_rank={"data": b"rank %d" % rank}, background=True, keep=1)
                    self.assertTrue(saved.begun and not saved.committed)
                    self.assertTrue(session.finish_save().committed)
                return session.parameter_hash()

        with tempfile.TemporaryDirectory() as root:
            with self.assertRaises(onebit.UnavailableError), onebit.Session(ADAM, small()) as session:
                session.load(root)
            Ranks(2).run(body, root, 5, False)
            self.assertEqual(Ranks(2).run(body, root, 9, True), Ranks(2).run(body, root, 9, False))

    def test_a_rank_that_ends_ends_the_others(self):
        def body(rank, place):
            session = onebit.Session(ADAM, small(), rendezvous=place)
            if rank == 1:
                session.abort("rank 1 has enough")
                return ""
            with self.assertRaises(onebit.AbortedError) as caught:
                session.step(exact_gradients(small(), 1, 0))
            return str(caught.exception)

        self.assertIn("rank 1 has enough", Ranks(2).run(body)[0])

    def test_broadcast(self):
        def body(rank, place):
            with onebit.Session(ADAM, small(), rendezvous=place) as session:
                own, text = numpy.full(5, rank), bytearray(b"rank%d" % rank)
                session.broadcast(own, 1)
                session.broadcast(text)
                return own.tolist(), bytes(text), session.all_reduce([rank + 1.0])

        self.assertEqual(Ranks(2).run(body), [([1] * 5, b"rank0", [3.0])] * 2)


class Signals(unittest.TestCase):
    """Of a process of its own, whose other rank does not come, or does not answer."""

    def interrupted(self, words):
        program = f"""
import numpy, onebit, os, sys, threading, time
from ranks import TCP, exact_gradients
parameters = {{"w": numpy.ones(100, "f4")}}
place = onebit.Rendezvous.tcp(int(sys.argv[1]), 2, "127.0.0.1", int(sys.argv[2]))
{words}
"""
        return [sys.executable, "-c", program]

    def run_two(self, first, second):
        port = str(free_port())
        return self.told([*self.interrupted(words), str(k), port] for k, words in enumerate((first, second)) if words)

    def told(self, programs):
        """Of which the first gets Ctrl-C when it has said that it waits: seconds, exit codes, what they printed."""
        pipes = {"cwd": HERE, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
        ranks = [subprocess.Popen(program, **pipes) for program in programs]
        self.assertEqual(ranks[0].stdout.readline(), "waits\n")
        time.sleep(0.8)  # from printing to waiting
        begin = time.monotonic()
        ranks[0].send_signal(signal.SIGINT)
        told = [rank.communicate(timeout=60) for rank in ranks]
        return time.monotonic() - begin, [rank.returncode for rank in ranks], told

    def test_ctrl_c_while_the_others_do_not_come(self):
        words = "print('waits', flush=True); onebit.Session(TCP, parameters, rendezvous=place)"
        took, codes, told = self.run_two(words, "")
        self.assertEqual(codes, [-signal.SIGINT], told)
        self.assertIn("KeyboardInterrupt", told[0][1])
        self.assertLess(took, 8)

    def test_ctrl_c_while_rank_0_does_not_come(self):
        program = "import onebit; print('waits', flush=True); onebit.Rendezvous.tcp(1, 2, '127.0.0.1', %d)" % free_port()
        took, codes, told = self.told([[sys.executable, "-c", program]])
        self.assertEqual(codes, [-signal.SIGINT], told)
        self.assertIn("KeyboardInterrupt", told[0][1])
        self.assertLess(took, 8)

    def test_ctrl_c_in_a_step_ends_the_other_rank_too(self):
        session = "session = onebit.Session(TCP, parameters, rendezvous=place)\n"
        step = "session.step(exact_gradients(parameters, 1, 0))"
        first = session + "print('waits', flush=True); " + step
        took, codes, told = self.run_two(first, session + "time.sleep(3); " + step)
        self.assertEqual(codes[0], -signal.SIGINT, told)
        self.assertEqual(codes[1], 1)
        self.assertIn("rank 0 was interrupted", told[1][1])
        self.assertLess(took, 20)

    def test_a_fork_is_legal_and_uses_nothing(self):
        parameters = small()
        session = onebit.Session(ADAM, parameters)
        child = os.fork()
        if child == 0:
            try:
                session.step(exact_gradients(parameters, 1, 0))
                os._exit(3)
            except onebit.Error:
                session.close()
                os._exit(0)
        self.assertEqual(os.waitpid(child, 0)[1], 0)
        self.assertEqual(session.step(exact_gradients(parameters, 1, 0)).number, 1)
        session.close()


if __name__ == "__main__":
    unittest.main()
