import threading
import warnings

from geop2p.raster.silence import georeference_not_missed


def test_a_thread_that_leaves_first_does_not_let_warnings_through_in_the_other():
    is_inside, may_leave, before = threading.Event(), threading.Event(), list(warnings.filters)

    def other():
        with georeference_not_missed():
            is_inside.set()
            may_leave.wait(10)

    thread = threading.Thread(target=other)
    thread.start()
    is_inside.wait(10)
    with georeference_not_missed():
        may_leave.set()
        thread.join()
        assert warnings.filters[0][2].__name__ == "NotGeoreferencedWarning"
    assert warnings.filters == before
