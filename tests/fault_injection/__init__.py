"""Everything that DESIGN promises always holds, broken on purpose."""

import sys

if "pytest" in sys.modules:
    sys.modules["pytest"].register_assert_rewrite("fault_injection.helpers")
