/* Pins the layout of version 1. A change to any of these sizes needs a new TIDEMARK_PLUGIN_ABI. */
#include "tidemark_plugin.h"

_Static_assert(TIDEMARK_PLUGIN_ABI == 1, "the sizes below are of version 1");
_Static_assert(sizeof(tidemark_text) == 2 * sizeof(void *), "tidemark_text");
_Static_assert(sizeof(tidemark_event) == 24 + 8 * sizeof(tidemark_text), "tidemark_event");
_Static_assert(sizeof(tidemark_page) == 16 + 2 * sizeof(void *), "tidemark_page");
_Static_assert(sizeof(tidemark_host) == 4 * sizeof(void *), "tidemark_host");
_Static_assert(sizeof(tidemark_opening) == 4 * sizeof(tidemark_text) + 8, "tidemark_opening");
_Static_assert(sizeof(tidemark_plugin) == 4 * sizeof(void *), "tidemark_plugin");
