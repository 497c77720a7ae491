#pragma once

#include "capture/source.h"

extern const struct feed_ops maria_feed_ops;
