"""`DefinitionStore`: is one version of a workflow one content for ever?"""

from __future__ import annotations

import attrs

from duraflow.definition.values import State
from duraflow.definition.workflow import Workflow
from duraflow.testing.conformance.subject import WORKFLOW, World, check


@check("definitions")
async def what_is_new_is_kept_and_what_is_known_is_compared(world: World) -> None:
    """The stored snapshot comes back for whatever is known with other content, and for nothing else."""
    async with world.opened() as ports:
        definitions = ports.persistence.definitions
        assert definitions is not None
        second = attrs.evolve(WORKFLOW, version=2)
        assert await definitions.register([WORKFLOW, second]) == {}
        assert await definitions.register([second]) == {}
        changed = attrs.evolve(WORKFLOW, states=(*WORKFLOW.states, State("four")))
        third = attrs.evolve(changed, version=3)
        assert await definitions.register([second, changed, third]) == {("port", 1): WORKFLOW.to_json()}
        # Nothing of it replaced anything.
        assert await definitions.register([WORKFLOW, second, third]) == {}
        assert await definitions.register([]) == {}


@check("definitions")
async def each_namespace_has_its_own(world: World) -> None:
    """The same name and version may mean something else there."""
    async with world.opened(), world.opened(f"{world.namespace}_b") as others:
        other = Workflow(name="port", version=9, initial="a", states=[State("a")])
        definitions = others.persistence.definitions
        assert definitions is not None
        assert await definitions.register([other]) == {}
    async with world.opened() as ports:
        definitions = ports.persistence.definitions
        assert definitions is not None
        assert await definitions.register([attrs.evolve(WORKFLOW, version=9)]) == {}
