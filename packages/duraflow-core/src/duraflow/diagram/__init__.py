"""Pictures and tables of a workflow, for documents that live in version control.

All come from one table of transitions, in the order of the definition and with one line for each edge, so that a
changed definition gives a small diff.
"""

from duraflow.diagram.dot import to_dot
from duraflow.diagram.markdown import to_markdown
from duraflow.diagram.mermaid import to_mermaid
from duraflow.diagram.table import Row, transition_table

__all__ = ["Row", "to_dot", "to_markdown", "to_mermaid", "transition_table"]
