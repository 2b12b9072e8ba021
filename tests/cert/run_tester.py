"""Starts os-ken's OpenFlow switch tester as its own command line no longer does; arguments are os-ken's options."""
import logging
import logging.handlers
import sys

from os_ken.lib import hub

hub.patch(thread=False)

from os_ken import cfg, flags, log  # noqa: E402,F401
from os_ken.base.app_manager import AppManager  # noqa: E402

log.early_init_log(logging.INFO)
cfg.CONF(args=sys.argv[1:], project="os_ken", default_config_files=[])
log.init_log()
logging.getLogger("os_ken.tests.switch.tester").setLevel(logging.INFO)
AppManager.run_apps(["os_ken.tests.switch.tester"])
