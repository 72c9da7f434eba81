"""A management controller that speaks IPMI over a LAN: `ipmi_sim` on loopback, with a power meter of DCMI.

Needs Debian's packages and a compiler: the simulator has no DCMI of its own, so a handler of it is built and loaded.
The power that it tells is what a file holds.
"""

from __future__ import annotations

import signal
import subprocess
from pathlib import Path

from tests.process import free_port, wait_until
from tests.system.debian import install

PACKAGES = ("openipmi", "libopenipmi-dev", "gcc", "libc6-dev", "ipmitool", "freeipmi-tools")
_NEEDED = ("ipmi_sim", "gcc", "ipmitool", "ipmi-dcmi", "/usr/include/OpenIPMI/mcserv.h")
USER = "reader"


def install_bmc() -> None:
    """Install Debian's packages when they are missing, without starting any service. Raises Unavailable."""
    install(PACKAGES, _NEEDED)


class Bmc:
    """One controller. `hang` lets it answer nobody until `recover`."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.port = free_port()
        self.power_file = folder / "watts"
        self._process: subprocess.Popen[bytes] | None = None

    def start(self, watts: int) -> None:
        """Start it, and return when it answers."""
        self.tell(watts)
        (self.folder / "dcmi.c").write_text(_DCMI.replace("@FILE@", str(self.power_file)))
        module = self.folder / "dcmi.so"
        build = ["gcc", "-shared", "-fPIC", "-w", "-o", str(module), str(self.folder / "dcmi.c")]
        subprocess.run(build, check=True)
        (self.folder / "lan.conf").write_text(_LAN.format(module=module, port=self.port, user=USER))
        (self.folder / "bmc.emu").write_text(_EMULATOR)
        (self.folder / "state").mkdir()
        with (self.folder / "log").open("wb") as log:
            self._process = subprocess.Popen(
                [
                    "ipmi_sim", "-n", "-c", str(self.folder / "lan.conf"), "-f", str(self.folder / "bmc.emu"),
                    "-s", str(self.folder / "state"),
                ],
                stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True,
            )  # fmt: skip
        wait_until(self._answers, "the controller answers", 20)

    def stop(self) -> None:
        """End it."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()

    def tell(self, watts: int) -> None:
        """From now on the node takes so many watts."""
        self.power_file.write_text(f"{watts}\n")

    def hang(self) -> None:
        """Answer nobody."""
        assert self._process is not None
        self._process.send_signal(signal.SIGSTOP)

    def recover(self) -> None:
        """Answer again."""
        if self._process is not None:
            self._process.send_signal(signal.SIGCONT)

    def ipmitool(self, *words: str) -> list[str]:
        """The command line of ipmitool for this controller."""
        where = ["-I", "lanplus", "-C", "3", "-H", "127.0.0.1", "-p", str(self.port)]
        return ["/usr/bin/ipmitool", *where, "-U", USER, "-P", USER, "-L", "ADMINISTRATOR", *words]

    def ipmi_dcmi(self) -> list[str]:
        """The command line of FreeIPMI's tool for this controller."""
        where = ["-h", f"127.0.0.1:{self.port}", "-D", "LAN_2_0", "-W", "opensesspriv", "-I", "3"]
        return ["/usr/sbin/ipmi-dcmi", *where, "-u", USER, "-p", USER, "-l", "ADMIN", "--get-system-power-statistics"]

    def _answers(self) -> bool:
        done = subprocess.run(self.ipmitool("mc", "info"), capture_output=True, check=False, timeout=30)
        return done.returncode == 0


_EMULATOR = "mc_setbmc 0x20\nmc_add 0x20 0 no-device-sdrs 0x23 9 8 0x9f 0x1291 0xf02\nmc_enable 0x20\n"

_LAN = """\
loadlib "{module}" ""
name "node"
set_working_mc 0x20
  startlan 1
    addr 127.0.0.1 {port}
    priv_limit admin
    allowed_auths_admin none md2 md5 straight
    guid 0123456789abcdef0123456789abcdef
  endlan
  user 2 true "{user}" "{user}" admin 10 none md2 md5 straight
"""

_DCMI = r"""
#include <stdio.h>
#include <time.h>
#include <OpenIPMI/serv.h>
#include <OpenIPMI/mcserv.h>
/* DCMI 1.5, 6.6.1: group 0xDC, command 2: now, least, most, mean (16 bits), time, period (32 bits), state. */
static void put(unsigned char *at, unsigned long value, int bytes)
{
    for (; bytes--; value >>= 8) *at++ = value & 0xff;
}
static void asked(lmc_data_t *mc, msg_t *request, unsigned char *answer, unsigned int *length, void *nothing)
{
    unsigned watts = 0;
    FILE *file = fopen("@FILE@", "r");
    if (file) { fscanf(file, "%u", &watts); fclose(file); }
    answer[0] = 0;
    answer[1] = 0xdc;
    if (request->cmd != 2) { answer[0] = 0xc1; *length = 2; return; }
    for (int each = 0; each < 4; each++) put(answer + 2 + 2 * each, watts, 2);
    put(answer + 10, time(NULL), 4);
    put(answer + 14, 1000, 4);
    answer[18] = 0x40;
    *length = 19;
}
int ipmi_sim_module_print_version(sys_data_t *system, char *options) { return 0; }
int ipmi_sim_module_init(sys_data_t *system, const char *options)
{
    ipmi_emu_register_group_extension_handler(0xdc, asked, NULL);
    return 0;
}
"""
