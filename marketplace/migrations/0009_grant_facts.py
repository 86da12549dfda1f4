"""What a download grant reads, as one function: Postgres keeps the plans of its statements on each connection.

Asked as plain SQL the planning alone costs several times the execution, and prepared statements are no way out behind a
transaction pooler. It runs with the caller's rights and reads only. `files` are those of the version asked for, or of the
newest one on sale; a grant for which none of them fits asks the general question (`marketplace.selectors.grants`).
"""

from django.db import migrations

FUNCTION = """
CREATE FUNCTION marketplace_grant_facts(
    asked_purchase uuid, asked_buyer uuid, asked_vehicle uuid, asked_version uuid, stated_app_version text, unreported_since timestamptz
) RETURNS json LANGUAGE plpgsql STABLE AS $$
DECLARE
    facts json;
BEGIN
    SELECT json_build_object(
        'purchase_status', p.status, 'tune', p.tune_id, 'calibration_ids_after', t.calibration_ids_after,
        'license', l.id, 'license_state', l.state, 'license_vehicle', l.vehicle_id, 'license_hashes', l.vehicle_identity_hashes,
        'reserved_until', l.reserved_until,
        'vehicle', CASE WHEN c.id IS NOT NULL THEN json_build_object(
            'id', c.id, 'make', c.make, 'make_id', m.make_id, 'model_id', c.catalog_model_id, 'year', c.year, 'market', c.market,
            'vin', c.vin, 'vin_hash', c.vin_hash, 'frame_number', c.frame_number, 'frame_number_hash', c.frame_number_hash,
            'stock_calibration_id', c.stock_calibration_id, 'installed_calibration_id', c.installed_calibration_id,
            'installed_at', c.installed_at, 'fuel_octane', c.fuel_octane, 'fuel_scale', c.fuel_scale,
            'any_stock_file', EXISTS (SELECT 1 FROM garage_stockfile s WHERE s.vehicle_id = c.id),
            'stock_file', EXISTS (SELECT 1 FROM garage_stockfile s WHERE s.vehicle_id = c.id AND s.hardware_number = e.hardware_number),
            'accepts_no_read_back', EXISTS (SELECT 1 FROM garage_noreadbackconsent n
                WHERE n.vehicle_id = c.id AND n.given_by_id = c.owner_id AND n.hardware_number = e.hardware_number),
            'parts', (SELECT json_agg(json_build_object('category', o.category, 'brand', o.brand, 'part', o.part))
                        FROM garage_vehiclemod o WHERE o.vehicle_id = c.id),
            'ecu', CASE WHEN e.id IS NOT NULL THEN json_build_object(
                'id', e.id, 'hardware_number', e.hardware_number, 'calibration_id', e.calibration_id, 'serial', e.serial,
                'serial_hash', e.serial_hash, 'image_size_bytes', e.image_size_bytes, 'read_at', e.read_at) END
        ) END,
        'unreported_tickets', (SELECT count(*) FROM marketplace_flashticket k
                                WHERE k.license_id = l.id AND k.expired_unreported_at > unreported_since),
        'status_version', (SELECT max(version) FROM marketplace_statusdocument),
        'app_version_blocked', EXISTS (SELECT 1 FROM marketplace_appversionblock a WHERE a.app_version = stated_app_version),
        'files', (
            SELECT json_agg(json_build_object(
                       'version', v.id, 'number', v.version, 'status', v.status, 'requirements', v.requirements,
                       'required_part_keys', v.required_part_keys, 'forbidden_part_keys', v.forbidden_part_keys,
                       'id', i.id, 'name', i.name, 'format', i.format, 'size_bytes', i.size_bytes, 'sha256', i.sha256,
                       'storage_key', i.storage_key, 'release', r.envelope, 'release_payload_sha256', r.payload_sha256,
                       'fitments', (SELECT json_agg(json_build_object(
                                        'make_id', f.make_id, 'model_id', f.model_id, 'year_from', f.year_from, 'year_to', f.year_to,
                                        'markets', f.markets, 'hardware_numbers', f.hardware_numbers,
                                        'calibration_ids', f.calibration_ids, 'image_size_bytes', f.image_size_bytes))
                                      FROM marketplace_fitment f WHERE f.file_id = i.id)
                   ) ORDER BY i.position)
              FROM marketplace_tuneversion v
              JOIN marketplace_tunefile i ON i.version_id = v.id
              LEFT JOIN marketplace_release r ON r.file_id = i.id AND r.channel = 'public' AND r.superseded_at IS NULL
             WHERE v.id = coalesce(asked_version, t.latest_version_id) AND v.tune_id = t.id AND v.published_at IS NOT NULL)
    ) INTO facts
      FROM marketplace_purchase p
      JOIN marketplace_tune t ON t.id = p.tune_id
      LEFT JOIN marketplace_license l ON l.purchase_id = p.id
      LEFT JOIN garage_vehicle c ON c.id = asked_vehicle AND c.owner_id = p.buyer_id AND c.deleted_at IS NULL
      LEFT JOIN garage_vehiclemodel m ON m.id = c.catalog_model_id
      LEFT JOIN garage_ecureadout e ON e.id = c.ecu_id
     WHERE p.id = asked_purchase AND p.buyer_id = asked_buyer;
    RETURN facts;
END $$;
"""


class Migration(migrations.Migration):
    dependencies = [("marketplace", "0008_stored_file_checks"), ("garage", "0001_initial")]

    operations = [
        migrations.RunSQL(FUNCTION, "DROP FUNCTION marketplace_grant_facts(uuid, uuid, uuid, uuid, text, timestamptz)"),
    ]
