"""What `jobmeter gather` is set up with: where it listens, what it keeps until the outputs have it, and the outputs."""

from __future__ import annotations

from typing import Annotated, Any, ClassVar

from msgspec import Meta, Struct

from jobmeter.settings.deployment import Metrics
from jobmeter.settings.fault import WrongValue
from jobmeter.settings.samples import SampleStoreSettings
from jobmeter.settings.sending import address_fault


class GateCurve(Struct, frozen=True, forbid_unknown_fields=True):
    """Encryption on the answering port, and who may come in. `jobmeter gather --make-keys FILE` makes key files."""

    key_file: Annotated[
        str, Meta(description="Our own keys; readable by us only.", examples=["/etc/jobmeter/gatherer.key"])
    ]
    nodes_folder: Annotated[
        str,
        Meta(description="A folder with the public keys of the nodes, `*.public`.", examples=["/etc/jobmeter/nodes"]),
    ]


class Listen(Struct, frozen=True, forbid_unknown_fields=True):
    """Where nodes send to. An empty address: not this way."""

    plain: Annotated[
        str, Meta(description="For Colmet's nodes, and for ours without acknowledgement; never encrypted.")
    ] = "tcp://127.0.0.1:5556"
    acknowledged: Annotated[str, Meta(description="For our nodes: each frame is answered when it is on disk.")] = (
        "tcp://127.0.0.1:5557"
    )
    high_water_mark: Annotated[
        int, Meta(description="Messages of one node that may wait in memory, the rest at the node; 0: no bound.", ge=0)
    ] = 2
    linger_milliseconds: Annotated[int, Meta(description="ZeroMQ's time at the end; -1: for ever.", ge=-1)] = 0
    burst_messages: Annotated[int, Meta(description="How many messages are taken before they are synced.", ge=1)] = 500
    curve: Annotated[GateCurve | None, Meta(description="Encryption on the answering port.")] = None

    def __post_init__(self) -> None:
        for key in ("plain", "acknowledged"):
            address = getattr(self, key)
            if address and (fault := address_fault(address)) is not None:
                raise WrongValue(key, fault)
        if not self.plain and not self.acknowledged:
            raise WrongValue("plain", "is empty, and so is acknowledged: nobody could send anything")


class Keeping(Struct, frozen=True, forbid_unknown_fields=True):
    """The journal: what came in, until every output has it."""

    folder: Annotated[
        str, Meta(description="Its folder, which is made. Empty: in memory, and the answering port stays closed.")
    ] = "jobmeter-data/gather"
    max_bytes: Annotated[
        int,
        Meta(description="How much it may hold; then the oldest goes, and outputs that lag behind miss it.", ge=2**20),
    ] = 2**30
    memory_max_bytes: Annotated[int, Meta(description="The same, where there is no folder.", ge=2**20)] = 2**26


class Colmet(Struct, frozen=True, forbid_unknown_fields=True):
    """Whose jobs those of Colmet's nodes are: its records hold a number only."""

    manager: Annotated[str, Meta(description="The batch system.", min_length=1)] = "oar"
    cluster: Annotated[str, Meta(description="The name of the cluster, as the accounting has it.")] = ""


class Summaries(Struct, frozen=True, forbid_unknown_fields=True):
    """The summary of each job at its end, and the server that joins it to the job's record."""

    address: Annotated[
        str | None,
        Meta(description="The server; without it no summaries are made.", examples=["http://127.0.0.1:8000"]),
    ] = None
    token: Annotated[
        str | None, Meta(description="Bearer token that the server asks for; better in a file.", extra={"secret": True})
    ] = None
    token_file: Annotated[str | None, Meta(description="File with the bearer token, read for every request.")] = None
    ca_file: Annotated[
        str | None, Meta(description="PEM file of an authority to trust besides those of the system.")
    ] = None
    certificate_file: Annotated[str | None, Meta(description="PEM file of the client certificate to show.")] = None
    key_file: Annotated[str | None, Meta(description="PEM file of its private key.")] = None
    flush_seconds: Annotated[
        float, Meta(description="How often what is summed so far is written down.", gt=0, le=3600)
    ] = 5.0
    silent_seconds: Annotated[
        float, Meta(description="A job that was not heard of for so long is summed up as it is.", gt=0)
    ] = 3600.0


class GatherSettings(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The gatherer. Each table `[outputs.NAME]` is an output; see the samples called `samples-NAME`."""

    plugin_tables: ClassVar[dict[str, str]] = {"outputs": "sinks.samples"}

    listen: Annotated[Listen, Meta(description="Where nodes send to.")] = Listen()
    journal: Annotated[Keeping, Meta(description="What is kept until the outputs have it.")] = Keeping()
    colmet: Annotated[Colmet, Meta(description="Colmet's nodes.")] = Colmet()
    flush_seconds: Annotated[
        float, Meta(description="How often outputs make durable what they have.", gt=0, le=3600)
    ] = 1.0
    drain_seconds: Annotated[
        float, Meta(description="How long outputs may take at the end for what is left.", ge=0, le=3600)
    ] = 10.0
    samples: Annotated[
        SampleStoreSettings, Meta(description="The sample store as an output; a server may read it meanwhile.")
    ] = SampleStoreSettings()
    summaries: Annotated[Summaries, Meta(description="Summaries of ended jobs, for their records.")] = Summaries()
    outputs: Annotated[
        dict[str, dict[str, Any]],
        Meta(description="The outputs, a table for each, by its name: hdf5, elasticsearch, …"),
    ] = {}
    metrics: Annotated[Metrics, Meta(description="What the gatherer says of itself.")] = Metrics()
    log_level: Annotated[str, Meta(description="Events to log: trace, debug, info, warn, error or off.")] = "info"
