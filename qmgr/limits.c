/*
 * limits - the limits of a transport: NAME_destination_concurrency_limit and its kin, else the default_ parameter
 *
 * Callers     message.c
 * Invariants  read once for each transport; a reload is a new process
 * Errors      a value that is no number is named in the log and the default is used
 */
#include "qmgr_internal.h"
#include "base/log.h"
#include <stdio.h>
#include <stdlib.h>

static int64_t concurrency_limit, initial_concurrency, recipient_limit, cohort_limit, rate_delay, slot_cost,
    slot_loan, slot_discount, slot_minimum;
static const char *positive_feedback, *negative_feedback;

const struct param qmgr_limit_params[] = {
    { .name = "default_destination_concurrency_limit",
      .type = PARAM_INT,
      .num = &concurrency_limit,
      .def = "20",
      .min = 0,
      .max = 100000,
      .doc = "Deliveries to one destination at a time; 0 means no limit." },
    { .name = "initial_destination_concurrency",
      .type = PARAM_INT,
      .num = &initial_concurrency,
      .def = "5",
      .min = 1,
      .max = 100000,
      .doc = "Deliveries to a destination at a time before anything is known about it." },
    { .name = "default_destination_recipient_limit",
      .type = PARAM_INT,
      .num = &recipient_limit,
      .def = "50",
      .min = 0,
      .max = DELIVER_RCPTS_MAX,
      .doc = "Recipients in one delivery; with 1 the concurrency limit is the recipient's." },
    { .name = "default_destination_concurrency_failed_cohort_limit",
      .type = PARAM_INT,
      .num = &cohort_limit,
      .def = "1",
      .min = 0,
      .max = 1000,
      .doc =
          "How many times in a row the current concurrency may fail until a destination counts as dead; 0: never." },
    { .name = "default_destination_rate_delay",
      .type = PARAM_SECONDS,
      .num = &rate_delay,
      .def = "0s",
      .min = 0,
      .max = 864000,
      .doc = "Pause between two deliveries to one destination; implies a concurrency of 1." },
    { .name = "default_delivery_slot_cost",
      .type = PARAM_INT,
      .num = &slot_cost,
      .def = "5",
      .min = 0,
      .max = 100000,
      .doc = "Deliveries of a big message that earn one delivery for a smaller one behind it; 0 switches this off." },
    { .name = "default_delivery_slot_loan",
      .type = PARAM_INT,
      .num = &slot_loan,
      .def = "3",
      .min = 0,
      .max = 100000,
      .doc = "Deliveries that are granted before they are earned." },
    { .name = "default_delivery_slot_discount",
      .type = PARAM_INT,
      .num = &slot_discount,
      .def = "50",
      .min = 0,
      .max = 100,
      .doc = "Percent of the price of passing a big message that is waived." },
    { .name = "default_minimum_delivery_slots",
      .type = PARAM_INT,
      .num = &slot_minimum,
      .def = "3",
      .min = 0,
      .max = 100000,
      .doc = "Messages that can earn fewer deliveries than this are never passed." },
    { .name = "default_destination_concurrency_positive_feedback",
      .type = PARAM_STRING,
      .str = &positive_feedback,
      .def = "1",
      .min = 1,
      .doc = "How much a good delivery raises concurrency: N, N/concurrency, N/sqrt_concurrency." },
    { .name = "default_destination_concurrency_negative_feedback",
      .type = PARAM_STRING,
      .str = &negative_feedback,
      .def = "1",
      .min = 1,
      .doc = "How much a failed destination lowers concurrency; written as the positive feedback." },
    { .type = PARAM_END },
};

static int64_t number(const char *transport, const char *suffix, int64_t fallback, bool seconds)
{
    char *name = mem_printf("%s_%s", transport, suffix);
    const char *text = conf_value(name);
    int64_t value = fallback;
    bool ok = true;

    if (text != NULL && *text != '\0') {
        if (seconds)
            value = conf_seconds(text, 's', &ok);
        else
            ok = slice_i64(slice_of(text), 0, 1000000, &value) == 0;
        if (!ok) {
            log_warn("%s: bad value \"%s\"; using the default", name, text);
            value = fallback;
        }
    }
    free(name);
    return value;
}

static struct feedback feedback(const char *transport, const char *suffix, const char *fallback)
{
    char *name = mem_printf("%s_%s", transport, suffix);
    const char *text = conf_value(name);
    struct feedback out = { 1, FEEDBACK_CONSTANT };

    if (text == NULL || *text == '\0' || feedback_parse(text, &out) < 0) {
        if (text != NULL && *text != '\0')
            log_warn("%s: bad value \"%s\"; using the default", name, text);
        (void) feedback_parse(fallback, &out); /* limits_check has seen it */
    }
    free(name);
    return out;
}

int limits_check(void)
{
    struct feedback out;

    if (feedback_parse(positive_feedback, &out) == 0 && feedback_parse(negative_feedback, &out) == 0)
        return 0;
    log_error("default_destination_concurrency_positive_feedback or _negative_feedback: not N, N/concurrency or "
              "N/sqrt_concurrency with N from 0 to 1");
    return -1;
}

struct transport *limits_transport(const char *name)
{
    struct transport *t = schedule_find(&qmgr_schedule, name);
    bool local = strcmp(name, "local") == 0; /* the one transport with other built-in defaults */

    if (t != NULL)
        return t;
    struct limits l = {
        .concurrency = number(name, "destination_concurrency_limit", local ? 2 : concurrency_limit, false),
        .initial_concurrency = number(name, "initial_destination_concurrency", initial_concurrency, false),
        .recipients = number(name, "destination_recipient_limit", local ? 1 : recipient_limit, false),
        .cohorts = number(name, "destination_concurrency_failed_cohort_limit", cohort_limit, false),
        .rate_delay_ms = number(name, "destination_rate_delay", rate_delay, true) * 1000,
        .slot_cost = number(name, "delivery_slot_cost", slot_cost, false),
        .slot_loan = number(name, "delivery_slot_loan", slot_loan, false),
        .slot_discount = number(name, "delivery_slot_discount", slot_discount, false),
        .slot_minimum = number(name, "minimum_delivery_slots", slot_minimum, false),
        .deliveries = conf_default_process_limit,
        .positive = feedback(name, "destination_concurrency_positive_feedback", positive_feedback),
        .negative = feedback(name, "destination_concurrency_negative_feedback", negative_feedback),
    };
    if (l.initial_concurrency < 1)
        l.initial_concurrency = 1;
    if (l.concurrency > 0 && l.initial_concurrency > l.concurrency)
        l.initial_concurrency = l.concurrency;
    if (l.slot_discount > 100)
        l.slot_discount = 100;
    return schedule_make(&qmgr_schedule, name, &l);
}
