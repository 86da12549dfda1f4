"""What earlier reviews are about, and whose buyer got the money back: the rules of `services.buyer_reviews`, once, in SQL.

A purchase that stands is PAID, or DISPUTED from PAID. Where none stands the review is marked, and counted only if the tune was
ever downloaded; the ratings that lose one are added up anew.
"""

from django.db import migrations

BIKES = """
UPDATE tuners_tunerreview review
   SET vehicle_model_id = coalesce(review.vehicle_model_id, bike.catalog_model_id), vehicle_year = bike.year,
       hardware_number = coalesce(upper(btrim(readout.hardware_number)), '')
  FROM (SELECT DISTINCT ON (purchase.buyer_id, purchase.tune_id) purchase.buyer_id, purchase.tune_id,
               coalesce(ticket.vehicle_id, purchase.vehicle_id) AS vehicle_id, ticket.readout_id
          FROM marketplace_purchase purchase
          LEFT JOIN LATERAL (SELECT k.vehicle_id, k.readout_id FROM marketplace_flashticket k
                              WHERE k.purchase_id = purchase.id ORDER BY k.issued_at DESC LIMIT 1) ticket ON true
         WHERE purchase.paid_at IS NOT NULL
         ORDER BY purchase.buyer_id, purchase.tune_id, purchase.paid_at DESC) bought
  JOIN garage_vehicle bike ON bike.id = bought.vehicle_id
  LEFT JOIN garage_ecureadout readout
       ON readout.id = coalesce(bought.readout_id, CASE WHEN bike.owner_id = bought.buyer_id THEN bike.ecu_id END)
 WHERE review.buyer_id = bought.buyer_id AND review.tune_id = bought.tune_id AND review.vehicle_year IS NULL
"""
REFUNDED = """
UPDATE tuners_tunerreview review SET is_refunded = true, is_counted = bought.was_granted
  FROM (SELECT purchase.buyer_id, purchase.tune_id, bool_or(granted.purchase_id IS NOT NULL) AS was_granted,
               bool_or(purchase.status = 'PAID' OR purchase.status = 'DISPUTED' AND purchase.disputed_from = 'PAID') AS stands
          FROM marketplace_purchase purchase LEFT JOIN marketplace_grantedpurchase granted ON granted.purchase_id = purchase.id
         WHERE purchase.paid_at IS NOT NULL GROUP BY 1, 2) bought
 WHERE review.buyer_id = bought.buyer_id AND review.tune_id = bought.tune_id AND review.state <> 'DELETED' AND NOT bought.stands
"""
TUNERS = """
UPDATE tuners_tunerprofile tuner SET review_count = tuner.review_count - lost.count, rating_sum = tuner.rating_sum - lost.sum
  FROM (SELECT tuner_id, count(*) AS count, sum(rating) AS sum FROM tuners_tunerreview
         WHERE state = 'PUBLISHED' AND NOT is_counted GROUP BY 1) lost
 WHERE tuner.id = lost.tuner_id
"""
TUNES = """
UPDATE marketplace_tune tune SET rating_count = tune.rating_count - lost.count, rating_sum = tune.rating_sum - lost.sum
  FROM (SELECT tune_id, count(*) AS count, sum(rating) AS sum FROM tuners_tunerreview
         WHERE state = 'PUBLISHED' AND NOT is_counted GROUP BY 1) lost
 WHERE tune.id = lost.tune_id
"""


class Migration(migrations.Migration):
    dependencies = [("marketplace", "0032_flash_groups"), ("tuners", "0006_review_appeals"), ("garage", "0005_rescue_links")]

    operations = [migrations.RunSQL([BIKES, REFUNDED, TUNERS, TUNES], migrations.RunSQL.noop)]
